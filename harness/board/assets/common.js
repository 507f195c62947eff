// Elements are made by hand and text is set as text, so nothing that a model or a task wrote is ever read as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...[children ?? []].flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (tag, attributes, children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, children) => fill(document.createElementNS(SVG, tag), attributes, children);

const known = (value) => value !== null && value !== undefined;
const fixed = (value, digits) => (known(value) ? value.toFixed(digits) : "–");
const percent = (value) => (known(value) ? (100 * value).toFixed(1) : "–");

function signed(value) {
  return known(value) ? `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(100 * value).toFixed(1)}` : "–";
}

function range(estimate, show) {
  return known(estimate.low) ? ` [${show(estimate.low)}, ${show(estimate.high)}]` : "";
}

function stars(p) {
  return known(p) ? "*".repeat([0.05, 0.01, 0.001].filter((limit) => p < limit).length) : "";
}

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#3a9bdc", "#7a5195", "#888888"];
