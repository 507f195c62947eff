// The table of a section: sortable by every column, filtered by text, each row opening into what it rests on.
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

function columns(section, state) {
  const front = frontOf(section, state);
  return [
    { name: "router", text: true, value: (row) => row.label, cell: (row) => row.label },
    {
      name: "success %",
      value: (row) => row.success.mean,
      cell: (row) => [percent(row.success.mean), el("span", { class: "range" }, range(row.success, percent))],
    },
    { name: "score", value: (row) => row.score.mean, cell: (row) => fixed(row.score.mean, 3) },
    { name: "high %", value: (row) => row.high_share, cell: (row) => percent(row.high_share) },
    {
      name: "cost",
      value: (row) => costOf(section, row, state),
      cell: (row) => (isSelfReported(row, state) ? "self-reported" : fixed(costOf(section, row, state), 3)),
    },
    { name: "front", value: (row) => (front.has(row) ? 1 : 0), cell: (row) => (front.has(row) ? "yes" : "") },
    ...["always-high", "matched random", "best baseline"].map((kind) => ({
      name: `vs ${kind}`,
      value: (row) => against(row, kind)?.difference.mean,
      cell: differenceCell(kind),
    })),
    { name: "verified", text: true, value: (row) => row.verified, cell: (row) => row.verified || "–" },
    { name: "audited", text: true, value: (row) => row.audit?.episodes, cell: auditCell },
    { name: "fresh", text: true, value: (row) => row.fresh?.games, cell: (row) => (row.fresh ? `${row.fresh.status}, ${row.fresh.games} games` : "–") },
    { name: "steps", value: (row) => row.steps, cell: (row) => fixed(row.steps, 1) },
    { name: "invalid %", value: (row) => row.invalid_share, cell: (row) => percent(row.invalid_share) },
    { name: "s/step", value: (row) => row.clock?.step_seconds, cell: (row) => (row.clock && row.self_reported ? "self-reported" : fixed(row.clock?.step_seconds, 3)) },
    { name: "step s p50/p95/p99", value: (row) => row.clock?.step.p95, cell: (row) => latencyCell(row, "step", 2) },
    { name: "episode s p50/p95/p99", value: (row) => row.clock?.episode.p95, cell: (row) => latencyCell(row, "episode", 1) },
    {
      name: "episodes",
      value: (row) => row.episodes,
      cell: (row) => (row.episodes === row.planned ? `${row.episodes}` : `${row.episodes} of ${row.planned}`),
    },
    {
      name: "claimed by papers",
      text: true,
      value: (row) => row.claims.length,
      cell: (row) => row.claims.map((claim) => el("div", { class: "claim" }, `${claim.text} (${claim.source})`)),
    },
  ];
}

function sorted(rows, columns, order) {
  if (!order) return rows;
  const column = columns.find((one) => one.name === order.name);
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

function tableOf(section, state, redraw) {
  const every = columns(section, state);
  const front = frontOf(section, state);
  const wanted = state.filter.trim().toLowerCase();
  const shown = sorted(section.rows, every, state.order).filter(
    (row) => `${row.label} ${row.router}`.toLowerCase().includes(wanted) && (!state.onlyFront || front.has(row)) &&
      (!state.verified || (row.verified || "none") === state.verified),
  );
  const heads = every.map((column) => {
    const active = state.order?.name === column.name;
    const sort = () => redraw({ order: { name: column.name, descending: active ? !state.order.descending : !column.text } }, `sort ${column.name}`);
    return el(
      "th",
      { scope: "col", class: column.text && "text", "aria-sort": active ? (state.order.descending ? "descending" : "ascending") : "none" },
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
      return el("td", { class: "text" }, button);
    });
    body.push(el("tr", { class: front.has(row) ? "front" : "", "data-row": key }, cells));
    if (open) body.push(detail(row, every.length));
  }
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Routers" },
    el("table", { id: "rows" }, [el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body)]));
}

function curvesOf(section) {
  if (!section.curves.length) return [];
  const figures = { APGR: "apgr", "CPT 20%": "cpt20", "CPT 50%": "cpt50", "CPT 80%": "cpt80", AUDC: "audc", AIQ: "aiq", QNC: "qnc" };
  const head = el("tr", {}, ["curve", "points", ...Object.keys(figures)].map((name) => el("th", { scope: "col" }, name)));
  const body = section.curves.map((curve) =>
    el("tr", {}, [curve.name, curve.labels.length, ...Object.values(figures).map((key) => fixed(curve[key], 3))].map((text) => el("td", {}, String(text)))));
  return [
    el("h2", {}, "Curves"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Curves" },
      el("table", { id: "curves" }, [el("thead", {}, head), el("tbody", {}, body)])),
  ];
}

function kindsOf(section) {
  const kinds = [...new Set(section.rows.flatMap((row) => Object.keys(row.by_kind)))].sort();
  if (!kinds.length) return null;
  const head = el("tr", {}, ["router", ...kinds].map((name) => el("th", { scope: "col" }, name)));
  const body = section.rows.map((row) =>
    el("tr", {}, [
      el("td", {}, row.label),
      ...kinds.map((kind) => {
        const one = row.by_kind[kind];
        return el("td", {}, one ? [percent(one.success.mean), el("span", { class: "range" }, `${range(one.success, percent)} n=${one.n}`)] : "–");
      }),
    ]),
  );
  return [
    el("h2", {}, "Success % by kind"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Success by kind" },
      el("table", { id: "kinds" }, [el("thead", {}, head), el("tbody", {}, body)])),
  ];
}
