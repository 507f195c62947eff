// The table of a section: its main rows or all, with the columns that the reader chose, sortable by each, filtered by text, each
// row opening into what it rests on.
function against(row, kind) {
  return row.against.find((one) => one.kind === kind);
}

function differenceCell(kind) {
  return (row) => {
    const one = against(row, kind);
    if (!one || !known(one.difference.mean)) return "–";
    const whom = one.label === kind ? "" : ` (${one.label})`;
    return [
      `${signed(one.difference.mean)}${stars(one.p_holm)}`,
      el("span", { class: "range" }, `${range(one.difference, signed)}${whom}`),
    ];
  };
}

function auditCell(row) {
  if (!row.audit) return "–";
  const some = row.audit.entries === row.entry.length ? "" : `, ${row.audit.entries} of ${row.entry.length} entries`;
  return `${row.audit.status}, ${row.audit.episodes} episodes${some}`;
}

function latencyCell(row, of, digits) {
  const found = row.clock?.[of];
  if (found && row.self_reported) return "self-reported";
  return found ? [found.p50, found.p95, found.p99].map((one) => one.toFixed(digits)).join(" / ") : "–";
}

const AGAINST = {
  "always-high": "always-high",
  "matched random": "the random router with the nearest share of high, at most 5 points away",
  "best baseline": "the best router without training that takes no more weight bytes",
};

function columns(section, state) {
  const front = frontOf(section, state);
  return [
    { name: "router", text: true, means: "Label of the router.", value: (row) => row.label, cell: (row) => row.label },
    {
      name: "success %",
      means: "Share of episodes that succeeded, with its 95% interval over games.",
      value: (row) => row.success.mean,
      cell: (row) => [percent(row.success.mean), el("span", { class: "range" }, range(row.success, percent))],
    },
    { name: "score", means: "Mean sum of rewards of an episode.", value: (row) => row.score.mean, cell: (row) => fixed(row.score.mean, 3) },
    { name: "high %", means: "Share of steps that the model high answered; of a step that both wrote, its share of the tokens.", value: (row) => row.high_share, cell: (row) => percent(row.high_share) },
    {
      name: "cost",
      means: `The cost that is chosen above: ${costHeading(section, state)}.`,
      value: (row) => costOf(section, row, state),
      cell: (row) => (isSelfReported(row, state) ? "self-reported" : fixed(costOf(section, row, state), 3)),
    },
    { name: "front", means: "Whether no other row costs no more, is no worse, and is better in one.", value: (row) => (front.has(row) ? 1 : 0), cell: (row) => (front.has(row) ? "yes" : "") },
    ...Object.entries(AGAINST).map(([kind, whom]) => ({
      name: `vs ${kind}`,
      means: `Success less that of ${whom}, in points, paired on the same games, with its 95% interval.`,
      value: (row) => against(row, kind)?.difference.mean,
      cell: differenceCell(kind),
    })),
    { name: "verified", text: true, means: "Verdict of mixroute verify, which recomputes the entry without a model.", value: (row) => row.verified, cell: (row) => row.verified || "–" },
    { name: "audited", text: true, means: "What the models themselves said when they were asked again for a sample of episodes.", value: (row) => row.audit?.episodes, cell: auditCell },
    { name: "fresh", text: true, means: "How the row did on games that did not exist when its entry was made.", value: (row) => row.fresh?.games, cell: (row) => (row.fresh ? `${row.fresh.status}, ${row.fresh.games} games` : "–") },
    { name: "steps", means: "Mean steps of an episode.", value: (row) => row.steps, cell: (row) => fixed(row.steps, 1) },
    { name: "invalid %", means: "Share of steps whose action was not admissible.", value: (row) => row.invalid_share, cell: (row) => percent(row.invalid_share) },
    { name: "s/step", means: "Measured device seconds of a step.", value: (row) => row.clock?.step_seconds, cell: (row) => (row.clock && row.self_reported ? "self-reported" : fixed(row.clock?.step_seconds, 3)) },
    { name: "step s p50/p95/p99", means: "Wall time of a step at the stated concurrency: percentiles, in seconds.", value: (row) => row.clock?.step.p95, cell: (row) => latencyCell(row, "step", 2) },
    { name: "episode s p50/p95/p99", means: "Wall time of an episode at the stated concurrency: percentiles, in seconds.", value: (row) => row.clock?.episode.p95, cell: (row) => latencyCell(row, "episode", 1) },
    {
      name: "episodes",
      means: "Finished episodes, one a game and seed; of how many that were planned, where some are missing.",
      value: (row) => row.episodes,
      cell: (row) => (row.episodes === row.planned ? `${row.episodes}` : `${row.episodes} of ${row.planned}`),
    },
  ];
}

function sorted(rows, columns, order) {
  const column = order && columns.find((one) => one.name === order.name);
  if (!column) return rows;
  const sign = order.descending ? -1 : 1;
  const last = (value) => !known(value);
  return [...rows].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (last(a) || last(b)) return last(a) - last(b);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  });
}

function detail(row, count) {
  const sources = row.entry.map((source) =>
    el("li", {}, [
      el("code", {}, source.command || "no shipped suite plays this"),
      `, entry ${source.folder}, hash ${source.hash}, commit ${source.commit || "unknown"}, seed ${source.seed}`,
    ]),
  );
  const figures = {
    "PGR (p*)": row.routing_metrics.pgr,
    GHC: row.routing_metrics.ghc,
    "cost reduction": row.routing_metrics.cost_reduction,
    "gain over random": row.routing_metrics.gain_over_random,
    "IBC lift": row.routing_metrics.ibc_lift,
    collapse: row.collapse,
    "prompt tokens computed by high": row.tokens.high?.input,
  };
  const shown = Object.entries(figures).filter(([, value]) => known(value)).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  if (row.clock) {
    const { machine, concurrency, instances, episode_seconds: passes, spread } = row.clock;
    shown.push(`seconds an episode ${passes.map((one) => one.toFixed(3)).join(", ")} by pass (spread ${percent(spread)}%), ` +
      `${instances} instances, ${concurrency} at once, ${machine}`);
  }
  const notes = [...(shown.length ? [shown.join(", ")] : []), ...row.notes].map((note) => el("li", {}, note));
  return el("tr", { class: "detail" }, el("td", { colspan: count }, el("ul", {}, [...sources, ...notes])));
}

const FIRST_COLUMNS = ["success %", "high %", "cost", "front", "vs always-high", "vs matched random", "vs best baseline", "verified"];
const MAIN_ROWS = 10;

// Always-high, always-low, random, the front, then the best row of each router; oracles, which need more than they save, last.
function mainRows(section, state) {
  const front = frontOf(section, state);
  const best = new Map();
  for (const row of section.rows) if (!best.has(row.router)) best.set(row.router, row);
  const ends = section.rows.filter((row) => ENDS.includes(row.router));
  const others = section.rows.filter((row) => row.role !== "oracle");
  const random = others.filter((row) => row.role === "random");
  const wanted = [...ends, ...random.slice(0, 2), ...others.filter((row) => front.has(row)), ...others.filter((row) => best.get(row.router) === row), ...others];
  const chosen = new Set([...new Set(wanted)].slice(0, MAIN_ROWS));
  return section.rows.filter((row) => chosen.has(row) || row.role === "oracle");
}

// What the filters leave, in table and plot.
function filtered(section, state) {
  const front = frontOf(section, state);
  const wanted = state.filter.trim().toLowerCase();
  const filters = wanted || state.onlyFront || state.verified;
  return (state.all || filters ? section.rows : mainRows(section, state)).filter(
    (row) => `${row.label} ${row.router}`.toLowerCase().includes(wanted) && (!state.onlyFront || front.has(row)) &&
      (!state.verified || (row.verified || "none") === state.verified),
  );
}

function columnChooser(every, state, update) {
  const box = ({ name }) => el("label", {}, [el("input", { type: "checkbox", name: `column ${name}`, checked: state.columns.has(name), "data-focus": `column ${name}`,
    onchange: (event) => {
      const next = new Set(state.columns);
      event.target.checked ? next.add(name) : next.delete(name);
      update({ columns: next, chooser: true }, `column ${name}`);
    } }), name]);
  return el("details", { id: "columns", open: state.chooser, ontoggle: (event) => (state.chooser = event.target.open) }, [
    el("summary", {}, "Columns"), el("div", { class: "bar" }, every.slice(1).map(box)),
  ]);
}

function tableOf(section, rows, state, redraw) {
  const all = columns(section, state);
  const every = all.filter((column, place) => place === 0 || state.columns.has(column.name));
  const front = frontOf(section, state);
  const ordered = sorted(rows, all, state.order);
  const shown = state.order ? ordered : [...ordered.filter((row) => row.role !== "oracle"), ...ordered.filter((row) => row.role === "oracle")];
  const heads = every.map((column) => {
    const active = state.order?.name === column.name;
    const sort = () => redraw({ order: { name: column.name, descending: active ? !state.order.descending : !column.text } }, `sort ${column.name}`);
    return el(
      "th",
      { scope: "col", class: column.text && "text", title: column.means, "aria-sort": active ? (state.order.descending ? "descending" : "ascending") : "none" },
      el("button", { type: "button", "data-focus": `sort ${column.name}`, onclick: sort }, column.name),
    );
  });
  const body = [];
  for (const row of shown) {
    const key = row.entry[0].hash;
    const open = state.open.has(key);
    const toggle = () => {
      const next = new Set(state.open);
      open ? next.delete(key) : next.add(key);
      redraw({ open: next }, `open ${key}`);
    };
    const cells = every.map((column, place) => {
      const content = column.cell(row);
      if (place) return el("td", { class: column.text && "text" }, content);
      const button = el("button", { type: "button", "aria-expanded": String(open), "data-focus": `open ${key}`, onclick: toggle }, row.label);
      return el("th", { scope: "row", class: "text" }, [button, row.role === "oracle" ? el("span", { class: "range" }, " oracle") : null]);
    });
    body.push(el("tr", { class: [front.has(row) && "front", row.role === "oracle" && "oracle"].filter(Boolean).join(" "), "data-row": key }, cells));
    if (open) body.push(detail(row, every.length));
  }
  const hidden = section.rows.length - mainRows(section, state).length;
  const more = hidden && !state.filter && !state.onlyFront && !state.verified
    ? el("p", {}, el("button", { type: "button", id: "more", "data-focus": "more", onclick: () => redraw({ all: !state.all }, "more") },
      state.all ? "Show the main rows" : `Show all ${section.rows.length} rows`))
    : null;
  const explained = el("details", {}, [el("summary", {}, "What the columns mean"),
    el("dl", {}, every.flatMap(({ name, means }) => [el("dt", {}, name), el("dd", {}, means)]))]);
  return el("div", {}, [
    el("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Routers" },
      el("table", { id: "rows" }, [el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body)])),
    more,
    columnChooser(all, state, redraw),
    explained,
  ]);
}
