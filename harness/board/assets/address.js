// What a link holds: everything that the reader chose, by name, so that a link outlives a new section or column.
const OVERVIEW = "overview";

function addressOf(state) {
  const chosen = new URLSearchParams();
  const put = (name, value, unless) => value !== unless && chosen.set(name, value);
  put("view", state.view, OVERVIEW);
  put("cost", state.cost, DATA.main_cost);
  put("budget", String(state.budget), String(DATA.main_budget));
  put("find", state.filter, "");
  put("verified", state.verified, "");
  put("front", String(state.onlyFront), "false");
  put("all", String(state.all), "false");
  put("columns", [...state.columns].join(","), FIRST_COLUMNS.join(","));
  if (state.order) put("sort", `${state.order.name}:${state.order.descending ? "down" : "up"}`);
  for (const name of ["first", "second", "instance", "step"]) put(name, state[name], "");
  return chosen.toString();
}

// The choices of an address; what it does not hold, or what there is not, is left as it is.
function asked(text) {
  const given = Object.fromEntries(new URLSearchParams(text));
  const [sort, direction] = (given.sort ?? "").split(/:(?=[^:]*$)/);
  const found = {
    view: DATA.sections.some((section) => section.key === given.view) && given.view,
    cost: given.cost in COSTS && given.cost,
    budget: DATA.overview_budgets.includes(Number(given.budget)) && Number(given.budget),
    filter: given.find, verified: given.verified, onlyFront: given.front === "true", all: given.all === "true",
    columns: known(given.columns) && new Set(given.columns.split(",")),
    order: ["up", "down"].includes(direction) && { name: sort, descending: direction === "down" },
    first: given.first, second: given.second, instance: given.instance, step: given.step,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
}
