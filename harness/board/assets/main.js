// One state, one function that draws it. What a link should hold stands in the address, by names: view, cost, budget, filters,
// columns, order, episode.
const state = {
  view: OVERVIEW, cost: DATA.main_cost, budget: DATA.main_budget, prices: {}, filter: "", verified: "", onlyFront: false,
  all: false, columns: new Set(FIRST_COLUMNS), chooser: false, order: null, open: new Set(), first: "", second: "", instance: "", step: "",
};
const VIEWS = [OVERVIEW, ...DATA.sections.map((section) => section.key)];

function themed(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

function tabs() {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    change({ view: VIEWS[(VIEWS.indexOf(state.view) + step + VIEWS.length) % VIEWS.length] }, "tab");
  };
  const names = ["Overview", ...DATA.sections.map((section) => section.tab)];
  return el("div", { class: "tabs", role: "tablist", "aria-label": "Overview and tasks", onkeydown: move },
    VIEWS.map((view, place) =>
      el("button", {
        type: "button", role: "tab", "aria-selected": String(view === state.view), "aria-controls": "panel",
        tabindex: view === state.view ? 0 : -1, "data-focus": view === state.view ? "tab" : null,
        onclick: () => change({ view }, "tab"),
      }, names[place])));
}

function controls() {
  const costs = Object.entries(COSTS).map(([key, cost]) => [key, cost.title]);
  const verdicts = [["", "any"], ["ok", "ok"], ["unchecked", "unchecked"], ["failed", "failed"], ["none", "no verdict"]];
  const bar = el("div", { class: "bar" }, [
    focused(select("cost", "cost", costs, state.cost, (value) => change({ cost: value }, "cost"))),
    focused(el("label", {}, ["find", el("input", { type: "search", name: "filter", value: state.filter,
      oninput: (event) => change({ filter: event.target.value }, "filter") })])),
    focused(el("label", {}, [el("input", { type: "checkbox", name: "front", checked: state.onlyFront,
      onchange: (event) => change({ onlyFront: event.target.checked }, "front") }), "Pareto front only"])),
    focused(select("verified", "verified", verdicts, state.verified, (value) => change({ verified: value }, "verified"))),
  ]);
  return state.cost === "price" ? [bar, priceTable()] : [bar];
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
  const rows = filtered(section, state);
  const choose = (row) => {
    change({ open: new Set([...state.open, row.entry[0].hash]) });
    document.querySelector(`[data-row="${CSS.escape(row.entry[0].hash)}"]`)?.scrollIntoView({ block: "center" });
  };
  const best = bestOf(section, state);
  return el("div", { id: "panel", role: "tabpanel", "aria-label": section.title }, [
    el("h2", {}, section.title),
    best ? el("p", { id: "verdict" }, [`Best within ${Math.round(100 * best.budget)}% of always-high's ${COSTS[best.cost_model].title}: `,
      el("strong", {}, best.label), best.label ? `: ${best.verdict}` : best.verdict]) : null,
    el("details", {}, [el("summary", {}, "Protocol, models and notes"),
      el("ul", {}, [...section.facts, ...section.notes].map((line) => el("li", {}, line)))]),
    ...controls(),
    plotOf(section, rows, state, choose),
    tableOf(section, rows, state, change),
    el("p", { class: "note" }, "Brackets: 95% intervals, bootstrapped over games. Differences in points, paired on the same games; * p < 0.05, ** p < 0.01, *** p < 0.001 after Holm's correction over this table."),
    ...claimsOf(section),
    ...budgetsOf(section, state),
    ...curvesOf(section),
    ...(kindsOf(section) ?? []),
    viewerOf(section, state, change),
  ]);
}

function change(changes, focus) {
  if ("view" in changes && changes.view !== state.view) {
    Object.assign(state, { order: null, all: false, open: new Set(), first: "", second: "", instance: "", step: "" });
  }
  Object.assign(state, changes);
  const section = DATA.sections.find((one) => one.key === state.view);
  if (section) {
    const models = Object.keys(section.rows[0].protocol.models);
    if (models.some((model) => !(model in state.prices))) state.prices = examplePrices(section);
  }
  const place = document.activeElement?.selectionStart;
  document.getElementById("main").replaceChildren(tabs(), section ? panel(section) : overviewOf(state, change));
  history.replaceState(null, "", `#${addressOf(state)}`);
  const target = focus && document.querySelector(`[data-focus="${CSS.escape(focus)}"]`);
  if (target) {
    target.focus();
    if (focus === "filter" && known(place)) target.setSelectionRange(place, place);
  }
}

function start() {
  themed(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.getElementById("theme").addEventListener("click", () =>
    themed(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  change(asked(location.hash.slice(1)));
}

start();
