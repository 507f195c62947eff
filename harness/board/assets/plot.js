// Success against cost: points with 95% intervals, the Pareto front of the chosen cost, and random routers as a curve between
// the two models. One colour a router, one shape a role; front rows are labelled where a label fits.
const SHAPES = {
  trained: (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  baseline: (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  random: (x, y, r) => `M${x},${y - 1.2 * r}L${x + 1.2 * r},${y + r}H${x - 1.2 * r}z`,
  oracle: (x, y, r) => `M${x},${y - 1.4 * r}L${x + 1.4 * r},${y}L${x},${y + 1.4 * r}L${x - 1.4 * r},${y}z`,
};

function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

// A router has one colour in all sections, which no other of its role has.
const ROUTERS = Object.fromEntries(Object.keys(SHAPES).map((role) => {
  const rows = DATA.sections.flatMap((section) => section.rows).filter((row) => row.role === role);
  return [role, [...new Set(rows.map((row) => row.router))].sort()];
}));
const colourOf = (row) => COLOURS[ROUTERS[row.role].indexOf(row.router) % COLOURS.length];

function pointsOf(section, rows, state) {
  return rows
    .map((row) => ({ row, x: costOf(section, row, state), y: row.success.mean }))
    .filter((point) => known(point.x) && known(point.y));
}

// Where values lie in the picture, and the axes that say so.
function frame(points, size) {
  const { width, height, left, right, top, bottom } = size;
  const xs = points.map((point) => point.x);
  const lows = points.map((point) => point.row.success.low ?? point.y);
  const spread = Math.max(...xs) - Math.min(...xs) || Math.max(...xs) || 1;
  const [x0, x1] = [Math.max(0, Math.min(...xs) - 0.08 * spread), Math.max(...xs) + 0.08 * spread];
  const [y0, y1] = [Math.min(0.9, Math.max(0, Math.floor(10 * Math.min(...lows)) / 10)), 1];
  const px = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const [xt, yt] = [ticks(x0, x1), ticks(y0, y1)];
  const parts = [
    ...xt.found.flatMap((x) => [
      svg("line", { class: "axis", x1: px(x), x2: px(x), y1: top, y2: height - bottom }),
      svg("text", { x: px(x), y: height - bottom + 16, "text-anchor": "middle" }, x.toFixed(xt.digits)),
    ]),
    ...yt.found.flatMap((y) => [
      svg("line", { class: "axis", x1: left, x2: width - right, y1: py(y), y2: py(y) }),
      svg("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, (100 * y).toFixed(0)),
    ]),
  ];
  return { px, py, parts };
}

// The front as steps, and random routers as a dashed line from always-low to always-high.
function linesOf(points, front, { px, py }) {
  const parts = [];
  const best = points.filter((point) => front.has(point.row)).sort((a, b) => a.x - b.x);
  if (best.length) {
    const path = best.map((point, place) => (place ? `H${px(point.x)}V${py(point.y)}` : `M${px(point.x)},${py(point.y)}`));
    parts.push(svg("path", { class: "front", d: path.join("") }));
  }
  const drawn = points.filter((point) => point.row.role === "random" || ENDS.includes(point.row.router));
  if (drawn.some((point) => point.row.role === "random")) {
    const path = drawn.sort((a, b) => a.row.high_share - b.row.high_share).map((point) => `${px(point.x)},${py(point.y)}`);
    parts.push(svg("polyline", { class: "random", points: path.join(" ") }, svg("title", {}, "random routers, by share of high")));
  }
  return parts;
}

// The first of four places beside a point where its label is within the picture and covers no label or point before it.
function placed(text, x, y, size, taken) {
  const [width, height] = [6.3 * text.length, 14];
  for (const [dx, dy] of [[9, -7], [9, 16], [-9 - width, -7], [-9 - width, 16]]) {
    const box = [x + dx, y + dy - height, x + dx + width, y + dy + 3];
    const inside = box[0] >= size.left && box[2] <= size.width && box[1] >= 0 && box[3] <= size.height - size.bottom;
    if (inside && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) {
      taken.push(box);
      return { x: x + dx, y: y + dy };
    }
  }
  return null;
}

function marker({ row, x, y }, { px, py }, radius) {
  const colour = colourOf(row);
  const bar = known(row.success.low)
    ? svg("line", { x1: px(x), x2: px(x), y1: py(row.success.low), y2: py(row.success.high), stroke: colour, "stroke-width": 1.5, opacity: 0.6 })
    : null;
  const hollow = row.episodes !== row.planned || row.role === "oracle";
  return [bar, svg("path", { d: SHAPES[row.role](px(x), py(y), radius), fill: hollow ? "var(--ground)" : colour, stroke: colour, "stroke-width": 2 })];
}

function legendOf(points) {
  const shown = new Map(points.map(({ row }) => [row.router, row]));
  const symbol = (row) => svg("svg", { width: 16, height: 16, "aria-hidden": "true" },
    svg("path", { d: SHAPES[row.role](8, 8, 5), fill: row.role === "oracle" ? "var(--ground)" : colourOf(row), stroke: colourOf(row), "stroke-width": 2 }));
  return el("ul", { class: "legend" }, [...shown].sort().map(([router, row]) => el("li", {}, [symbol(row), `${router} (${row.role})`])));
}

function plotOf(section, rows, state, choose) {
  const size = { width: 860, height: 380, left: 56, right: 20, top: 12, bottom: 46 };
  const points = pointsOf(section, rows, state);
  if (!points.length) return el("p", { class: "note", id: "plot" }, rows.length ? "No row has this cost." : "No row is left by the filters.");
  const [front, where] = [frontOf(section, state), frame(points, size)];
  const tip = el("p", { class: "tip note", "aria-live": "polite" }, "Choose a point to see its figures.");
  const parts = [
    ...where.parts,
    svg("text", { x: size.width / 2, y: size.height - 8, "text-anchor": "middle" }, costHeading(section, state)),
    svg("text", { x: 14, y: size.height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${size.height / 2})` }, "success, %"),
    ...linesOf(points, front, where),
  ];
  const taken = points.map(({ x, y }) => [where.px(x) - 6, where.py(y) - 6, where.px(x) + 6, where.py(y) + 6]);
  for (const point of points) {
    const { row, x, y } = point;
    const label = `${row.label}: ${percent(y)}%${range(row.success, percent)}, ${COSTS[state.cost].title} ${x.toFixed(3)}, high ${percent(row.high_share)}%`;
    const show = () => (tip.textContent = label);
    const name = front.has(row) ? placed(row.label.slice(0, 40), where.px(x), where.py(y), size, taken) : null;
    parts.push(
      svg("g", { class: "point", tabindex: 0, role: "button", "aria-label": label, onmouseenter: show, onfocus: show,
        onclick: () => choose(row), onkeydown: (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), choose(row)) },
        [svg("title", {}, label), ...marker(point, where, 5), name && svg("text", { ...name, class: "quiet" }, row.label.slice(0, 40))]),
    );
  }
  return el("div", {}, [
    el("div", { class: "scroll" }, svg("svg", { id: "plot", viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": "Success against cost" }, parts)),
    legendOf(points),
    tip,
  ]);
}

// The chart of the overview: points, front and random curve, with the best router named.
function smallPlotOf(section, state) {
  const size = { width: 400, height: 220, left: 36, right: 12, top: 8, bottom: 40 };
  const points = pointsOf(section, section.rows.filter((row) => row.role !== "oracle"), state);
  if (!points.length) return el("p", { class: "note" }, "No row has this cost.");
  const [front, where] = [frontOf(section, state), frame(points, size)];
  const best = bestOf(section, state)?.run;
  const taken = [];
  const named = points.filter(({ row }) => row.entry[0].hash === best || ENDS.includes(row.router)).map(({ row, x, y }) => {
    const place = placed(row.label.slice(0, 30), where.px(x), where.py(y), size, taken);
    return place && svg("text", place, row.label.slice(0, 30));
  });
  return svg("svg", { class: "small", viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": `Success against cost, ${section.tab}` }, [
    ...where.parts,
    svg("text", { x: size.width / 2, y: size.height - 6, "text-anchor": "middle", class: "quiet" }, costHeading(section, state)),
    ...linesOf(points, front, where),
    ...points.flatMap((point) => marker(point, where, 4)),
    ...named.filter(Boolean),
  ]);
}
