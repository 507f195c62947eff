// Success within a budget: which share of episodes had succeeded once so much was spent, for the chosen cost. Drawn are the
// rows on the front and the two that take one model; the table has them all.
function budgetsOf(section, state) {
  const heading = el("h2", {}, "Success within a budget");
  const rows = section.rows.filter((row) => known(row.success_within[state.cost]) && !isSelfReported(row, state));
  if (!rows.length) return [heading, el("p", { class: "note" }, "No row has this cost relative to always-high.")];
  const [width, height, left, right, top, bottom] = [860, 260, 56, 200, 12, 46];
  const budgets = DATA.budgets;
  const last = budgets[budgets.length - 1];
  const px = (x) => left + (x / last) * (width - left - right);
  const py = (y) => height - bottom - y * (height - top - bottom);
  const parts = [];
  for (const x of budgets.filter((_, place) => place % 5 === 0)) {
    parts.push(svg("line", { class: "axis", x1: px(x), x2: px(x), y1: top, y2: height - bottom }));
    parts.push(svg("text", { x: px(x), y: height - bottom + 16, "text-anchor": "middle" }, x.toFixed(1)));
  }
  for (const y of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(svg("line", { class: "axis", x1: left, x2: width - right, y1: py(y), y2: py(y) }));
    parts.push(svg("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, (100 * y).toFixed(0)));
  }
  const axis = `${COSTS[state.cost].title} of an episode, mean of always-high = 1`;
  parts.push(svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, axis));
  const front = frontOf(section, state);
  const drawn = rows.filter((row) => front.has(row) || ENDS.includes(row.router)).slice(0, 12);
  drawn.forEach((row, place) => {
    const colour = colourOf(row);
    const values = row.success_within[state.cost];
    const path = values.map((y, at) => (at ? `H${px(budgets[at])}V${py(y)}` : `M${px(budgets[0])},${py(y)}`)).join("");
    parts.push(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2 }, svg("title", {}, row.label)));
    const y = top + 8 + 16 * place;
    parts.push(svg("line", { x1: width - right + 8, x2: width - right + 20, y1: y, y2: y, stroke: colour, "stroke-width": 3 }));
    parts.push(svg("text", { x: width - right + 24, y: y + 4 }, row.label.slice(0, 27)));
  });
  const shown = budgets.map((budget, at) => [budget, at]).filter(([budget]) => [0.2, 0.4, 0.6, 0.8, 1, 1.5, 2].includes(budget));
  const head = el("tr", {}, ["router", ...shown.map(([budget]) => `≤ ${budget}`)].map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) =>
    el("tr", {}, [el("td", { class: "text" }, row.label), ...shown.map(([, at]) => el("td", {}, percent(row.success_within[state.cost][at])))]));
  return [
    heading,
    el("div", { class: "scroll" }, svg("svg", { id: "budgets", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Success within a budget of ${COSTS[state.cost].title}` }, parts)),
    el("p", { class: "note" }, "Percent of episodes that succeeded at a cost of at most so many times always-high's mean."),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Success within a budget" },
      el("table", { id: "within" }, [el("thead", {}, head), el("tbody", {}, body)])),
  ];
}
