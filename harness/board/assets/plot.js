// Success against cost: points with 95% intervals and the Pareto front of the chosen cost.
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

function plotOf(section, state, choose) {
  const [width, height, left, right, top, bottom] = [860, 380, 56, 20, 12, 46];
  const front = frontOf(section, state);
  const points = section.rows
    .map((row, index) => ({ row, index, x: costOf(section, row, state), y: row.success.mean }))
    .filter((point) => known(point.x) && known(point.y));
  const tip = el("p", { class: "tip note", "aria-live": "polite" }, "Choose a point to see its figures.");
  if (!points.length) return el("p", { class: "note" }, "No row has this cost.");
  const xs = points.map((point) => point.x);
  const lows = points.map((point) => point.row.success.low ?? point.y);
  const spread = Math.max(...xs) - Math.min(...xs) || Math.max(...xs) || 1;
  const [x0, x1] = [Math.max(0, Math.min(...xs) - 0.08 * spread), Math.max(...xs) + 0.08 * spread];
  const [y0, y1] = [Math.max(0, Math.floor(10 * Math.min(...lows)) / 10), 1];
  const px = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const parts = [];
  const [xt, yt] = [ticks(x0, x1), ticks(y0, y1)];
  for (const x of xt.found) {
    parts.push(svg("line", { class: "axis", x1: px(x), x2: px(x), y1: top, y2: height - bottom }));
    parts.push(svg("text", { x: px(x), y: height - bottom + 16, "text-anchor": "middle" }, x.toFixed(xt.digits)));
  }
  for (const y of yt.found) {
    parts.push(svg("line", { class: "axis", x1: left, x2: width - right, y1: py(y), y2: py(y) }));
    parts.push(svg("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, (100 * y).toFixed(0)));
  }
  parts.push(svg("text", { x: width / 2, y: height - 8, "text-anchor": "middle" }, costHeading(section, state)));
  parts.push(svg("text", { x: 14, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${height / 2})` }, "success, %"));
  const line = points.filter((point) => front.has(point.row)).sort((a, b) => a.x - b.x);
  if (line.length) {
    const path = line.map((point, place) => (place ? `H${px(point.x)}V${py(point.y)}` : `M${px(point.x)},${py(point.y)}`));
    parts.push(svg("path", { class: "front", d: path.join("") }));
  }
  for (const { row, index, x, y } of points) {
    const colour = COLOURS[index % COLOURS.length];
    const label = `${row.label}: ${percent(y)}%${range(row.success, percent)}, ${COSTS[state.cost].title} ${x.toFixed(3)}, high ${percent(row.high_share)}%`;
    const show = () => (tip.textContent = label);
    const bar = known(row.success.low)
      ? svg("line", { x1: px(x), x2: px(x), y1: py(row.success.low), y2: py(row.success.high), stroke: colour, "stroke-width": 1.5 })
      : null;
    const dot = svg("circle", { cx: px(x), cy: py(y), r: 6, fill: row.episodes === row.planned ? colour : "none", stroke: colour, "stroke-width": 2 });
    const name = front.has(row) ? svg("text", { x: px(x) + 9, y: py(y) - 7, class: "quiet" }, row.label.slice(0, 40)) : null;
    parts.push(
      svg("g", { class: "point", tabindex: 0, role: "button", "aria-label": label, onmouseenter: show, onfocus: show,
        onclick: () => choose(row), onkeydown: (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), choose(row)) },
        [svg("title", {}, label), bar, dot, name]),
    );
  }
  return el("div", {}, [
    svg("svg", { id: "plot", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Success against cost", style: "width:100%;height:auto" }, parts),
    tip,
  ]);
}
