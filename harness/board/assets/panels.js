// What stands below the table of a section: claims of papers, curves, and success by kind of game.
function claimsOf(section) {
  const found = new Map(section.rows.flatMap((row) => row.claims.map((claim) => [`${row.router}: ${claim.text}`, claim.source])));
  if (!found.size) return [];
  return [
    el("section", { id: "claims", "aria-label": "Claims of papers" }, [
      el("h2", {}, "Claimed by papers"),
      el("p", { class: "note" }, "Measured by their authors, with other models; nothing here was measured by this project."),
      el("ul", {}, [...found].sort().map(([text, source]) => el("li", {}, `${text} (${source})`))),
    ]),
  ];
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
