// Views of an answer as elements: bars, numbers, texts, tables, pictures, JSON.

import { button, counted, download, element } from "/web/elements.js";
import * as json from "/web/json.js";
import { digits, percent } from "/web/reading.js";

const MOST_BARS = 10;
const MOST_ROWS = 50;
const MOST_COLUMNS = 12;
const MOST_CHARACTERS = 5000;
const KINDS = { iVBOR: "image/png", "/9j/": "image/jpeg", R0lGO: "image/gif", UklGR: "image/webp", Qk: "image/bmp" };

/** Return the element of a view. `large` marks the first one, which is the answer in short. */
export function render(view, large) {
  const made = RENDERERS[view.kind](view, large);
  const title = view.kind === "classes" && large ? null : element("h3", {}, view.alias);
  const { description } = view.about ?? {};
  const described = description ? element("p", { className: "quiet" }, description) : null;
  const note = view.note ? element("p", { className: "note" }, view.note) : null;
  return element("section", { className: "view" }, title, made, described, note);
}

const RENDERERS = { classes, number: plain, text, file, picture, classmap, table, json: tree };

function best(text, className = "") {
  return element("p", { id: "best", className: `${className} ${text.length > 24 ? "long" : text.length > 3 ? "middle" : ""}` }, text);
}

function classes({ entries, share, alias }, large) {
  const scores = entries.map(({ score }) => score).filter(Number.isFinite);
  const high = share ? 1 : Math.max(...scores);
  const low = share ? 0 : Math.min(0, ...scores);
  const list = element("ol", { className: "bars", "aria-label": `${alias}, the best first` });
  const item = ({ name, score }, i) => {
    const part = Number.isFinite(score) ? (score - low) / (high - low || 1) : 0;
    const fill = element("div", { className: "fill" });
    // From nothing to its length, which shows that it is a new answer.
    requestAnimationFrame(() => (fill.style.width = `${(part * 100).toFixed(1)}%`));
    return element("li", { className: i ? "" : "best" }, element("span", { className: "name", title: name }, name),
      element("div", { className: "track", "aria-hidden": "true" }, fill), element("span", { className: "percent" }, share ? percent(score) : digits(score)));
  };
  list.append(...entries.slice(0, MOST_BARS).map(item));
  const more = entries.length - MOST_BARS;
  const show = more > 0 ? button(`Show all ${entries.length}`, () => {
    list.append(...entries.slice(MOST_BARS).map((entry) => item(entry, 1)));
    show.remove();
  }, { className: "small" }) : null;
  return element("div", {}, large ? best(entries[0].name) : null, list, show);
}

function plain({ value }, large) {
  return large ? best(value) : element("p", { className: "value" }, value);
}

function text({ value, alias }, large) {
  if (large && value.length <= 200) return best(value);
  const shown = element("p", { className: "value text" }, value.slice(0, MOST_CHARACTERS));
  if (value.length <= MOST_CHARACTERS) return shown;
  return element("div", {}, shown, element("p", { className: "quiet" }, `The first ${MOST_CHARACTERS} of ${value.length} characters.`),
    button("Save all", () => download(`${alias}.txt`, value, "text/plain"), { className: "small" }));
}

function file({ value, alias }) {
  const kind = Object.entries(KINDS).find(([begin]) => value.startsWith(begin))?.[1];
  const bytes = Uint8Array.from(atob(value), (letter) => letter.charCodeAt(0));
  const save = button(`Save ${bytes.length.toLocaleString()} bytes`, () => download(`${alias}${kind ? `.${kind.slice(6)}` : ""}`, new Blob([bytes], { type: kind })), { className: "small" });
  if (!kind) return save;
  return element("div", {}, element("img", { className: "output", src: `data:${kind};base64,${value}`, alt: `Picture ${alias}` }), save);
}

function picture({ value, alias, height, width, depth, dtype }) {
  const channel = depth === 1 && !Array.isArray(value[0][0]) ? (y, x) => value[y][x] : (y, x, c) => value[y][x][c];
  let low = Infinity;
  let high = -Infinity;
  each(height, width, (y, x) => {
    for (let c = 0; c < depth; c++) {
      const one = Number(channel(y, x, c));
      if (one < low) low = one;
      if (one > high) high = one;
    }
  });
  const seen = `${digits(low, dtype)} to ${digits(high, dtype)}`;
  [low, high] = scaleOf(low, high);
  const canvas = painted(height, width, (y, x) => {
    const value_ = (c) => ((Number(channel(y, x, c)) - low) / (high - low || 1)) * 255;
    return depth < 3 ? [value_(0), value_(0), value_(0), 255] : [value_(0), value_(1), value_(2), depth === 4 ? value_(3) : 255];
  });
  return framed(canvas, alias, `${width}×${height}, values ${seen}, shown as ${low} (black) to ${high} (white)`);
}

/** Return the usual range that values lie in, else their own. */
function scaleOf(low, high) {
  if (low >= 0 && high <= 1) return [0, 1];
  if (low >= -1 && high <= 1) return [-1, 1];
  return low >= 0 && high <= 255 && high > 2 ? [0, 255] : [low, high];
}

/** A class for each pixel: of its own, or the highest of the last dimension. */
function classmap({ value, alias, about, height, width, depth }) {
  const counts = new Map();
  const of = (y, x) => {
    const one = value[y][x];
    if (!Array.isArray(one)) return Number(one);
    let top = 0;
    for (let c = 1; c < depth; c++) if (one[c] > one[top]) top = c;
    return top;
  };
  const canvas = painted(height, width, (y, x) => {
    const found = of(y, x);
    counts.set(found, (counts.get(found) ?? 0) + 1);
    return colour(found);
  });
  const shown = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_ROWS);
  const legend = element("ul", { className: "legend" }, ...shown.map(([found, pixels]) => {
    const [red, green, blue] = colour(found);
    const sample = element("span", { className: "sample", "aria-hidden": "true" });
    sample.style.background = `rgb(${red} ${green} ${blue})`;
    return element("li", {}, sample, `${about.labels?.[found] ?? `class ${found}`}, ${percent(pixels / (height * width))}`);
  }));
  const how = depth > 1 ? `the highest of ${depth} values at each place` : "a class at each place";
  return element("div", {}, framed(canvas, alias, `${width}×${height}, ${how}`), legend);
}

function colour(number) {
  if (number === 0) return [24, 28, 44, 255];
  const hue = (number * 137.508) % 360; // The golden angle: neighbours differ most.
  const part = (shift) => {
    const k = (shift + hue / 30) % 12;
    return 255 * (0.58 - 0.32 * Math.max(-1, Math.min(k - 3, 9 - k, 1)));
  };
  return [part(0), part(8), part(4), 255];
}

function each(height, width, visit) {
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) visit(y, x);
}

function painted(height, width, pixel) {
  const canvas = element("canvas", { className: "output", width, height });
  const data = new ImageData(width, height);
  each(height, width, (y, x) => data.data.set(pixel(y, x), (y * width + x) * 4));
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

function framed(canvas, alias, caption) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Picture ${alias}, ${caption}`);
  const save = button("Save as PNG", () => canvas.toBlob((blob) => download(`${alias}.png`, blob)), { className: "small" });
  return element("figure", {}, canvas, element("figcaption", { className: "quiet" }, caption), save);
}

function table({ value, flat, dtype, alias }) {
  const rows = flat ? value.map((one, i) => [i, one]) : value.map((row, i) => [i, ...row]);
  const names = flat ? ["", "value"] : ["", ...value[0].map((_, i) => String(i))];
  return tableOf(names, rows.map(([i, ...cells]) => [String(i), ...cells.map((cell) => cellText(cell, dtype))]), alias);
}

const cellText = (cell, dtype) => (typeof cell === "number" ? digits(cell, dtype) : typeof cell === "string" ? cell : json.write(cell));

/** Return a table that can be scrolled by itself; the first cell of a row is its heading. */
export function tableOf(names, rows, label) {
  const cut = names.length > MOST_COLUMNS;
  const fit = (cells) => (cut ? [...cells.slice(0, MOST_COLUMNS), "…"] : cells);
  const body = element("tbody");
  const add = (some) => {
    for (const [head, ...cells] of some.map(fit))
      body.append(element("tr", {}, element("th", {}, head), ...cells.map((cell) => element("td", {}, cell))));
  };
  add(rows.slice(0, MOST_ROWS));
  const made = element("table", {}, element("thead", {}, element("tr", {}, ...fit(names).map((name) => element("th", {}, name)))), body);
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, made);
  let shown = MOST_ROWS;
  const more = rows.length > shown ? button(`Show more of ${counted(rows.length, "row")}`, () => {
    add(rows.slice(shown, shown + 500));
    shown += 500;
    if (shown >= rows.length) more.remove();
  }, { className: "small" }) : null;
  const note = cut ? element("p", { className: "quiet" }, `The first ${MOST_COLUMNS - 1} of ${names.length - 1} columns. Save the answer for all.`) : null;
  return element("div", {}, scroll, note, more);
}

function tree({ value }) {
  // Of what is larger, what can't be seen isn't written either.
  const part = json.pretty(head(value)).slice(0, MOST_CHARACTERS);
  return element("pre", { className: "code", tabIndex: 0 }, part);
}

function head(value) {
  if (!Array.isArray(value)) return value;
  const some = value.slice(0, 20).map(head);
  return value.length > 20 ? [...some, `… ${value.length - 20} more`] : some;
}
