// The overview: a line a section with its best router within the chosen budget, in the words that the program found, and a
// small chart of each.
function bestOf(section, state) {
  return section.best.find((one) => one.cost_model === recordedCost(state) && one.budget === state.budget);
}

// A difference in points, and whether chance explains it.
function inWords(row, kind) {
  const one = against(row, kind);
  if (!one || !known(one.difference.mean)) return "–";
  const told = stars(one.p_holm);
  return [`${signed(one.difference.mean)}${told}`, el("span", { class: "range" }, told ? "" : " not told apart")];
}

function overviewOf(state, update) {
  const cost = COSTS[recordedCost(state)].title;
  const costs = Object.entries(DATA.costs).map(([key, one]) => [key, one.title]);
  const budgets = DATA.overview_budgets.map((budget) => [String(budget), `${Math.round(100 * budget)}%`]);
  const open = (section) => update({ view: section.key }, "tab");
  const reference = (section) => section.rows.find((row) => row.router === "always-high" && row.label === "always-high") ??
    section.rows.find((row) => row.router === "always-high");
  const few = (section) => Math.max(...section.rows.map((row) => row.instances)) < DATA.few_instances;
  const ordered = [...DATA.sections].sort((one, other) => few(one) - few(other));
  const lines = ordered.map((section) => {
    const best = bestOf(section, state);
    const row = best && section.rows.find((one) => one.entry[0].hash === best.run);
    const high = reference(section);
    const link = el("button", { type: "button", class: "link", onclick: () => open(section) }, section.tab);
    const first = [
      el("th", { scope: "row", class: "text" }, [link, few(section) ? el("span", { class: "range" }, " too few to tell") : null]),
      el("td", {}, high ? percent(high.success.mean) : "–"),
    ];
    if (!row) return el("tr", {}, [...first, el("td", { class: "text", colspan: 6 }, best ? best.verdict : `no ${cost} relative to always-high`)]);
    return el("tr", { title: `${row.label}: ${best.verdict}` }, [
      ...first,
      el("td", { class: "text" }, row.role === "trained" ? el("strong", {}, row.label) : `${row.label} (untrained)`),
      el("td", {}, percent(row.success.mean)),
      el("td", {}, fixed(row.cost[best.cost_model], 2)),
      ...Object.keys(AGAINST).map((kind) => el("td", { class: "text" }, inWords(row, kind))),
    ]);
  });
  const heads = ["task, split, instances", "always-high, success %", "best router", "its success %", `its ${cost}, always-high = 1`,
    "against always-high", "against random at its share", "against the best untrained row"];
  return el("div", { id: "panel", role: "tabpanel", "aria-label": "Overview" }, [
    el("p", {}, [
      "For each step of an agent a router chooses the model that writes it: ", el("strong", {}, "high"), ", in full precision, or ",
      el("strong", {}, "low"), ", a cheaper one. A good router keeps always-high's success at less cost.",
    ]),
    el("div", { class: "bar" }, [
      focused(select("cost", "cost", costs, recordedCost(state), (value) => update({ cost: value }, "cost"))),
      focused(select("budget", "best router within", budgets, String(state.budget), (value) => update({ budget: Number(value) }, "budget"))),
      el("span", { class: "note" }, "of always-high's cost"),
    ]),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Best router of each section" },
      el("table", { id: "overview" }, [el("thead", {}, el("tr", {}, heads.map((name, place) =>
        el("th", { scope: "col", class: [0, 2, 5, 6, 7].includes(place) && "text" }, name)))), el("tbody", {}, lines)])),
    el("p", { class: "note" }, "Points of success on the same games; * p < 0.05, ** p < 0.01, *** p < 0.001, not told apart: p ≥ 0.05 (paired permutation test, Holm's correction over the section). The best router is chosen on the games that are reported, which is to its advantage."),
    el("h2", {}, "Success against cost"),
    el("div", { class: "charts" }, ordered.map((section) =>
      el("section", { "aria-label": section.tab }, [
        el("h3", {}, el("button", { type: "button", class: "link", onclick: () => open(section) }, section.tab)),
        smallPlotOf(section, state),
      ]))),
  ]);
}

// A control that keeps the focus when the page is drawn anew.
function focused(label) {
  const control = label.querySelector("select, input");
  control.dataset.focus = control.name;
  return label;
}
