// Episodes step by step; two routers on the same game side by side, marked at their first difference.
const TRACES = new Map();
const WAITING = new Map();

// Each trace file calls this with its own name.
window.mixrouteTrace = (file, episodes) => {
  TRACES.set(file, new Map(episodes.map((episode) => [episode.instance, episode])));
  WAITING.get(file)?.();
};

function load(file) {
  if (TRACES.has(file)) return Promise.resolve(TRACES.get(file));
  return new Promise((resolve, reject) => {
    WAITING.set(file, () => resolve(TRACES.get(file)));
    document.head.append(el("script", { src: `traces/${file}.js`, onerror: () => reject(new Error(`traces/${file}.js is not there`)) }));
  });
}

function scoresOf(step) {
  const logged = Object.entries(step.scores || {}).map(([name, value]) => `${name} ${value.toPrecision(3)}`);
  const calls = step.calls.map((call) => `${call.model}: ${call.prompt} + ${call.decoded} tokens${known(call.entropy) ? `, entropy ${call.entropy.toFixed(3)}` : ""}`);
  return [...logged, ...calls].join(" · ");
}

// Along the episode: who acted (colour), the router's probability of high (line), entropy of the answer (bars).
function strip(episode) {
  const [width, height] = [600, 70];
  const count = Math.max(1, episode.steps.length);
  const slot = width / count;
  const probability = (step) => Object.entries(step.scores || {}).find(([name]) => name.startsWith("p_"))?.[1];
  const entropy = (step) => step.calls.find((call) => call.model === step.model)?.entropy ?? 0;
  const most = Math.max(0.1, ...episode.steps.map(entropy));
  const parts = episode.steps.flatMap((step, place) => [
    svg("rect", { x: place * slot + 1, y: height - 8, width: Math.max(1, slot - 2), height: 8, fill: `var(--${["high", "low"].includes(step.model) ? step.model : "mixed"})` }),
    svg("rect", { x: place * slot + 2, y: height - 10 - 40 * (entropy(step) / most), width: Math.max(1, slot - 4), height: 40 * (entropy(step) / most), fill: "var(--line)" }),
  ]);
  const scored = episode.steps.map((step, place) => [place, probability(step)]).filter(([, value]) => known(value));
  if (scored.length) {
    const line = scored.map(([place, value]) => `${(place + 0.5) * slot},${height - 10 - 55 * value}`).join(" ");
    parts.push(svg("polyline", { points: line, fill: "none", stroke: "var(--accent)", "stroke-width": 2 }));
  }
  const label = "Along the episode: model that acted (colour), entropy of its answer (bars), the router's probability of high (line)";
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, style: "width:100%;height:70px", preserveAspectRatio: "none" }, parts);
}

function stepOf(step, place, part, link) {
  const side = ["high", "low"].includes(step.model) ? step.model : "mixed";
  return el("li", { class: `step ${side}${place === part ? " part" : ""}` }, [
    place === part ? el("p", { class: "note" }, "First difference.") : null,
    el("pre", {}, step.observation),
    step.thought ? el("p", { class: "thought" }, step.thought) : null,
    el("p", { class: "done" }, [
      el("button", { type: "button", class: "link", "aria-label": `Link to step ${place + 1}`, onclick: () => link(place + 1) }, String(place + 1)),
      el("span", { class: "who" }, ` [${step.model}] `), el("span", { class: "mono" }, `> ${step.action}`),
      step.valid === false ? el("span", { class: "bad" }, " not admissible") : null,
      step.reward ? el("span", { class: "good" }, ` reward ${step.reward}`) : null,
    ]),
    el("p", { class: "note" }, scoresOf(step)),
  ]);
}

function column(run, episode, part, link) {
  return el("section", { "aria-label": run.label }, [
    el("h3", {}, run.label),
    el("p", {}, [
      el("span", { class: episode.success ? "good" : "bad" }, episode.success ? "success" : "failure"),
      `, score ${episode.score}, ${episode.steps.length} steps, ${episode.steps.filter((step) => step.model === "high").length} by high, end: ${episode.end}`,
      episode.error ? `, error: ${episode.error}` : "",
    ]),
    strip(episode),
    el("ol", { style: "list-style:none;padding:0" }, episode.steps.map((step, place) => stepOf(step, place, part, link))),
    el("pre", {}, episode.final),
  ]);
}

function partOf(one, two) {
  const length = Math.max(one.steps.length, two.steps.length);
  for (let place = 0; place < length; place += 1) {
    if (one.steps[place]?.action !== two.steps[place]?.action) return place;
  }
  return null;
}

function select(name, label, options, value, change) {
  const items = options.map(([key, text]) => el("option", { value: key, selected: key === value }, text));
  return el("label", {}, [label, el("select", { name, onchange: (event) => change(event.target.value) }, items)]);
}

function viewerOf(section, state, update) {
  const runs = DATA.traces.filter((run) => run.group === section.group && run.limit === section.limit);
  const box = el("section", { class: "viewer", id: "viewer", "aria-label": "Episodes" }, el("h2", {}, "Episodes"));
  if (!runs.length) {
    box.append(el("p", { class: "note" }, "This page was written without traces: mixroute board --traces adds them."));
    return box;
  }
  const names = runs.map((run) => [run.file, `${run.label}, seed ${run.seed}`]).sort((one, other) => one[1].localeCompare(other[1]));
  const link = (step) => update({ step: String(step) });
  const first = runs.find((run) => run.file === state.first) ?? runs[0];
  const second = runs.find((run) => run.file === state.second);
  Promise.all([first, second].filter(Boolean).map((run) => load(run.file))).then(
    ([ours, theirs]) => {
      const games = [...ours.keys()].filter((instance) => !theirs || theirs.has(instance)).sort();
      const instance = games.includes(state.instance) ? state.instance : games[0];
      const mark = (episode) => (episode.success ? "won" : "lost");
      const listed = games.map((game) => [game, `${game} (${[ours, theirs].filter(Boolean).map((one) => mark(one.get(game))).join(" / ")})`]);
      box.append(
        el("div", { class: "bar" }, [
          select("first", "router", names, first.file, (value) => update({ first: value, step: "" })),
          select("second", "beside", [["", "nobody"], ...names], second?.file ?? "", (value) => update({ second: value, step: "" })),
          select("instance", "game", listed, instance, (value) => update({ instance: value, step: "" })),
        ]),
      );
      const episode = ours.get(instance);
      if (!episode) return;
      const other = theirs?.get(instance);
      const part = other ? partOf(episode, other) : null;
      if (other && part === null) box.append(el("p", { class: "note" }, "Both do the same in every step."));
      box.append(el("div", { class: other ? "episode two" : "episode" }, [column(first, episode, part, link), other ? column(second, other, part, link) : null]));
      box.querySelectorAll(".step")[Number(state.step) - 1]?.scrollIntoView({ block: "center" });
    },
    (error) => box.append(el("p", { class: "bad" }, `${error.message}: copy the folder traces beside this page.`)),
  );
  return box;
}
