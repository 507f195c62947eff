// One state, one function that draws it. What a link should hold stands in the address: section, cost, episode.
const state = {
  section: 0, cost: DATA.main_cost, prices: {}, filter: "", verified: "", onlyFront: false, order: null, open: new Set(),
  first: "", second: "", instance: "",
};

function themed(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

function tabs() {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    change({ section: (state.section + step + DATA.sections.length) % DATA.sections.length }, "tab");
  };
  return el("div", { class: "tabs", role: "tablist", "aria-label": "Tasks", onkeydown: move },
    DATA.sections.map((section, place) =>
      el("button", {
        type: "button", role: "tab", "aria-selected": String(place === state.section), "aria-controls": "panel",
        tabindex: place === state.section ? 0 : -1, "data-focus": place === state.section ? "tab" : null,
        onclick: () => change({ section: place }, "tab"),
      }, section.tab)));
}

function controls(section) {
  const costs = Object.entries(COSTS).map(([key, cost]) => [key, cost.title]);
  const bar = el("div", { class: "bar" }, [
    select("cost", "cost", costs, state.cost, (value) => change({ cost: value }, "cost")),
    el("label", {}, ["find", el("input", { type: "search", name: "filter", value: state.filter, "data-focus": "filter",
      oninput: (event) => change({ filter: event.target.value }, "filter") })]),
    el("label", {}, [el("input", { type: "checkbox", name: "front", checked: state.onlyFront, "data-focus": "front",
      onchange: (event) => change({ onlyFront: event.target.checked }, "front") }), "Pareto front only"]),
  ]);
  const verdicts = [["", "any"], ["ok", "ok"], ["unchecked", "unchecked"], ["failed", "failed"], ["none", "no verdict"]];
  bar.append(select("verified", "verified", verdicts, state.verified, (value) => change({ verified: value }, "verified")));
  for (const name of ["cost", "verified"]) bar.querySelector(`select[name=${name}]`).dataset.focus = name;
  return state.cost === "price" ? [bar, priceTable(section)] : [bar];
}

function priceTable() {
  const kinds = { input: "prompt", cached: "cached prompt", output: "output" };
  return el("fieldset", { id: "prices" }, [
    el("legend", {}, "Dollars for a million tokens (an example: put in your own)"),
    ...Object.entries(state.prices).map(([model, prices]) =>
      el("div", { class: "bar" }, [el("strong", {}, model), ...Object.entries(kinds).map(([kind, name]) =>
        el("label", {}, [name, el("input", { type: "number", min: 0, step: "any", value: prices[kind], name: `${model} ${kind}`,
          onchange: (event) => {
            const value = Math.max(0, Number(event.target.value) || 0);
            change({ prices: { ...state.prices, [model]: { ...prices, [kind]: value } } });
          } })]))])),
  ]);
}

function panel(section) {
  const choose = (row) => {
    change({ open: new Set([...state.open, row.entry[0].hash]) });
    document.querySelector(`[data-row="${CSS.escape(row.entry[0].hash)}"]`)?.scrollIntoView({ block: "center" });
  };
  return el("div", { id: "panel", role: "tabpanel", "aria-label": section.title }, [
    el("h2", {}, section.title),
    el("details", {}, [el("summary", {}, "Protocol, models and notes"),
      el("ul", {}, [...section.facts, ...section.notes].map((line) => el("li", {}, line)))]),
    ...controls(section),
    plotOf(section, state, choose),
    tableOf(section, state, change),
    el("p", { class: "note" }, "Brackets: 95% intervals, bootstrapped over games. Differences in points, paired on the same games; * p < 0.05, ** p < 0.01, *** p < 0.001 after Holm's correction over this table. Claims of papers are of other models."),
    ...budgetsOf(section, state),
    ...curvesOf(section),
    ...(kindsOf(section) ?? []),
    viewerOf(section, state, change),
  ]);
}

function change(changes, focus) {
  if ("section" in changes && changes.section !== state.section) {
    Object.assign(state, { order: null, open: new Set(), first: "", second: "", instance: "" });
  }
  Object.assign(state, changes);
  const section = DATA.sections[state.section];
  const models = Object.keys(section.rows[0].protocol.models);
  if (models.some((model) => !(model in state.prices))) state.prices = examplePrices(section);
  const place = document.activeElement?.selectionStart;
  document.getElementById("main").replaceChildren(tabs(), panel(section));
  const held = ["section", "cost", "first", "second", "instance"].filter((name) => state[name]);
  history.replaceState(null, "", `#${new URLSearchParams(held.map((name) => [name, state[name]]))}`);
  const target = focus && document.querySelector(`[data-focus="${CSS.escape(focus)}"]`);
  if (target) {
    target.focus();
    if (focus === "filter" && known(place)) target.setSelectionRange(place, place);
  }
}

function start() {
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const section = Number(asked.section);
  themed(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.getElementById("theme").addEventListener("click", () =>
    themed(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  Object.assign(state, {
    section: Number.isInteger(section) && section >= 0 && section < DATA.sections.length ? section : 0,
    cost: asked.cost in COSTS ? asked.cost : DATA.main_cost,
    first: asked.first ?? "", second: asked.second ?? "", instance: asked.instance ?? "",
  });
  change({});
}

start();
