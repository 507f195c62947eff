// Costs of a row under the model that the reader has chosen, relative to always-high where the section has it. The cost
// models of the traces come with the data; the price is the reader's own, and computed here.
const COSTS = Object.fromEntries(
  Object.entries(DATA.costs).map(([name, { title, unit, scale }]) => [name, { title, unit: `${unit} an episode`, scale }]),
);
// The routers of one model, between which all others lie.
const ENDS = ["always-low", "always-high"];

// The chosen cost if traces hold it; in place of the reader's price, the main one.
const recordedCost = (state) => (state.cost in DATA.costs ? state.cost : DATA.main_cost);
COSTS.price = { title: "price", unit: "dollars for 1,000 episodes", scale: 1e-3 };

// Dollars for a million tokens: computed, cached, decoded. An example to be edited: the largest model at 1, 0.1
// and 3, the others in proportion to their weight bytes.
function examplePrices(section) {
  const models = section.rows[0].protocol.models;
  const largest = Math.max(...Object.values(models).map((card) => card.weight_bytes));
  return Object.fromEntries(
    Object.entries(models).map(([name, card]) => {
      const part = Math.round((1000 * card.weight_bytes) / largest) / 1000;
      return [name, { input: part, cached: Number((part / 10).toFixed(4)), output: Number((3 * part).toFixed(4)) }];
    }),
  );
}

function priceOf(row, prices) {
  let total = 0;
  for (const [model, tokens] of Object.entries(row.tokens)) {
    for (const kind of ["input", "cached", "output"]) total += (tokens[kind] * (prices[model]?.[kind] ?? 0)) / 1e6;
  }
  return total;
}

// Measured seconds that no published entry bounds: they are the word of whoever measured, and compared with nothing.
function isSelfReported(row, state) {
  return state.cost === "seconds" && row.self_reported && known(row.clock);
}

function costOf(section, row, state) {
  if (isSelfReported(row, state)) return null;
  if (state.cost !== "price") {
    const relative = section.rows.some((other) => known(other.cost[state.cost]));
    const value = (relative ? row.cost : row.cost_absolute)[state.cost];
    return known(value) ? (relative ? value : value / COSTS[state.cost].scale) : null;
  }
  const reference = section.rows.find((other) => other.router === "always-high");
  const base = reference ? priceOf(reference, state.prices) : 0;
  return base ? priceOf(row, state.prices) / base : priceOf(row, state.prices) / COSTS.price.scale;
}

function costHeading(section, state) {
  const relative = state.cost === "price"
    ? section.rows.some((row) => row.router === "always-high")
    : section.rows.some((row) => known(row.cost[state.cost]));
  return `${COSTS[state.cost].title}, ${relative ? "always-high = 1" : COSTS[state.cost].unit}`;
}

// Rows that no other row beats: costs no more, is no worse, and strictly better in one. Some take no part, such
// as unfinished ones.
function frontOf(section, state) {
  const points = section.rows
    .filter((row) => row.ranked && known(row.success.mean))
    .map((row) => ({ row, x: costOf(section, row, state), y: row.success.mean }))
    .filter((point) => known(point.x) && point.x > 0);
  const beats = (one, other) => one.x <= other.x && one.y >= other.y && (one.x < other.x || one.y > other.y);
  return new Set(points.filter((point) => !points.some((other) => beats(other, point))).map((point) => point.row));
}
