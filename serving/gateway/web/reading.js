// What an answer means: outputs to views, by shape, type, name and what the model says of them.

import { isFloat } from "/web/model.js";

const SCORES = /^(probabilit(y|ies)|scores?|confidences?|softmax)$/i;
const NAMES = /(label|class|categor|name|predict)/i;
const LEAST_PICTURE_SIDE = 8;

/** Return rows of values by output name, from the body of an answer. */
export function rowsOf(signature, answer) {
  if ("results" in answer) return answer.results.map((result) => (Array.isArray(result)
    ? { classes: result.map(([name]) => name), scores: result.map(([, score]) => score) } : { value: result }));
  const { outputs } = signature;
  const names = outputs.map(({ alias }) => alias);
  if ("predictions" in answer) return answer.predictions.map((row) => (names.length === 1 ? { [names[0]]: row } : row));
  // REST leaves the name of an only output out.
  const columns = names.length === 1 ? { [names[0]]: answer.outputs } : answer.outputs;
  const byRow = outputs.filter(({ shape }) => shape === null || (shape.length && (shape[0] < 0 || shape[0] === 1))).map(({ alias }) => alias);
  const lengths = new Set(byRow.map((alias) => (Array.isArray(columns[alias]) ? columns[alias].length : -1)));
  const [length] = lengths;
  if (lengths.size !== 1 || length < 1) return [columns];
  return Array.from({ length }, (_, i) => Object.fromEntries(names.map((alias) => [alias, byRow.includes(alias) ? columns[alias][i] : columns[alias]])));
}

/**
 * Return the views of one row, the most important first. Each has a `kind`:
 * `classes` (entries of `{name, score}`, best first; `share` if scores are parts of 1), `number`,
 * `text`, `file`, `picture`, `classmap`, `table` or `json`; and `short`, for lists.
 */
export function viewsOf(signature, row) {
  const outputs = "results" in signature ? signature.results : outputsOf(signature, row);
  const used = new Set();
  const ranked = ranking(outputs, row, used);
  const rest = outputs.filter(({ alias }) => !used.has(alias)).map((output) => view(output, row[output.alias]));
  const order = ["number", "text", "picture", "classmap", "file", "table", "json"];
  rest.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return ranked ? [ranked, ...rest] : rest;
}

function outputsOf(signature, row) {
  const known = new Map(signature.outputs.map((output) => [output.alias, output]));
  return Object.keys(row).map((alias) => known.get(alias) ?? { alias, dtype: typeof row[alias] === "string" ? "DT_STRING" : "DT_FLOAT", shape: null, about: {} });
}

const isNumber = (value) => typeof value === "number" || typeof value === "bigint";
const isVector = (value) => Array.isArray(value) && value.length > 0 && value.every(isNumber);

function sharesOfOne(values) {
  const sum = values.reduce((all, value) => all + Number(value), 0);
  return values.every((value) => value > -1e-6 && value < 1 + 1e-6) && Math.abs(sum - 1) < 0.02;
}

function ranking(outputs, row, used) {
  const candidates = outputs
    .filter(({ alias, dtype }) => isVector(row[alias]) && row[alias].length > 1 && isFloat(dtype))
    .map((output) => ({ output, worth: worth(output, row[output.alias]) }))
    .filter(({ worth }) => worth > 0)
    .sort((a, b) => b.worth - a.worth);
  if (!candidates.length) return oneClass(outputs, row, used);
  const { output } = candidates[0];
  const scores = row[output.alias];
  used.add(output.alias);
  const names = classNames(output, outputs, row, scores.length, used);
  const share = sharesOfOne(scores) || (SCORES.test(output.alias) && scores.every((score) => score >= 0 && score <= 1));
  const entries = scores.map((score, i) => ({ name: names[i], score: Number(score) }));
  entries.sort((a, b) => (Number.isNaN(b.score) ? -1 : Number.isNaN(a.score) ? 1 : b.score - a.score));
  const best = scores.indexOf(scores.find((score) => Number(score) === entries[0].score));
  nameOfBest(outputs, row, used, best, entries);
  const guessed = !SCORES.test(output.alias) && !output.about.labels;
  const note = guessed ? `'${output.alias}' adds up to 1, so it is shown as probabilities of classes.` : "";
  return { kind: "classes", alias: output.alias, entries, share, note, short: short(entries[0], share), about: output.about };
}

function worth(output, values) {
  return (
    (output.about.labels?.length === values.length ? 8 : 0) +
    (SCORES.test(output.alias) ? 4 : 0) +
    (sharesOfOne(values) ? 2 : 0)
  );
}

function classNames(output, outputs, row, length, used) {
  if (output.about.labels?.length === length) return output.about.labels;
  const partner = outputs.find(({ alias, dtype }) => alias !== output.alias && Array.isArray(row[alias]) &&
    row[alias].length === length && !isFloat(dtype) && row[alias].every((each) => !Array.isArray(each)) && NAMES.test(alias));
  if (partner) {
    used.add(partner.alias);
    return row[partner.alias].map((each) => nameOf(partner, each));
  }
  const said = outputs.find(({ about, dtype }) => !isFloat(dtype) && about.labels?.length === length);
  return said ? said.about.labels : Array.from({ length }, (_, i) => String(i));
}

/** Outputs that only repeat which class is best are no answers of their own; one may have its name. */
function nameOfBest(outputs, row, used, best, entries) {
  for (const output of outputs) {
    const value = row[output.alias];
    if (used.has(output.alias) || !NAMES.test(output.alias)) continue;
    if (!isFloat(output.dtype) && isNumber(value) && Number(value) === best) {
      used.add(output.alias);
    } else if (typeof value === "string") {
      if (/^\d+$/.test(entries[0].name)) entries[0].name = value;
      if (entries[0].name === value) used.add(output.alias);
    }
  }
}

/** A class and how sure the model is, in two outputs of one value each. */
function oneClass(outputs, row, used) {
  const name = outputs.find(({ alias, dtype }) => NAMES.test(alias) && !isFloat(dtype) && ["string", "number", "bigint"].includes(typeof row[alias]));
  const score = outputs.find(({ alias, dtype }) => SCORES.test(alias) && isFloat(dtype) && isNumber(row[alias]) && row[alias] >= 0 && row[alias] <= 1);
  if (!name || !score) return null;
  used.add(name.alias).add(score.alias);
  const entry = { name: nameOf(name, row[name.alias]), score: row[score.alias] };
  return { kind: "classes", alias: name.alias, entries: [entry], share: true, note: "", short: short(entry, true), about: name.about };
}

const nameOf = ({ about }, value) => about.labels?.[Number(value)] ?? String(value);

const short = ({ name, score }, share) => `${name} (${share ? percent(score) : digits(score)})`;

export const percent = (score) => (Number.isFinite(score) ? `${(score * 100).toFixed(1)} %` : String(score));

/** Return a number with the digits that float32, or its own type, has. */
export function digits(value, dtype = "DT_FLOAT") {
  if (dtype === "DT_FLOAT" && typeof value === "number" && Number.isFinite(value))
    for (let places = 6; places < 9; places++) {
      const shorter = Number(value.toPrecision(places));
      if (Math.fround(shorter) === Math.fround(value)) return String(shorter);
    }
  return String(value);
}

function view(output, value) {
  const { alias, dtype, about } = output;
  const of = (kind, short_, more = {}) => ({ kind, alias, about, value, dtype, short: short_, ...more });
  let inner = value;
  while (Array.isArray(inner) && inner.length === 1) [inner] = inner; // [[[x]]] is x.
  if (inner && typeof inner === "object" && "b64" in inner) return of("file", "file", { value: inner.b64 });
  if (typeof inner === "string") return of("text", inner, { value: inner });
  if (typeof inner === "boolean") return of("text", String(inner), { value: String(inner) });
  if (isNumber(inner)) {
    const named = !isFloat(dtype) && about.labels?.[Number(inner)];
    if (named) return of("text", named, { value: named });
    const text = digits(inner, dtype) + (about.unit ? ` ${about.unit}` : "");
    return of("number", text, { value: text });
  }
  const sizes = sizesOf(value);
  const [height, width, depth] = sizes ?? [];
  const words = sizes ? `[${sizes.join(", ")}]` : "…";
  const large = height >= LEAST_PICTURE_SIDE && width >= LEAST_PICTURE_SIDE;
  if (large && isNumber(first(value))) {
    if (sizes.length === 3 && [1, 3, 4].includes(depth)) return of("picture", "picture", { height, width, depth });
    if (sizes.length === 3 && isFloat(dtype)) return of("classmap", "map", { height, width, depth });
    if (sizes.length === 2) return of(isFloat(dtype) ? "picture" : "classmap", "map", { height, width, depth: 1 });
  }
  if (sizes && sizes.length <= 2) {
    const flat = sizes.length === 1;
    return of("table", flat && value.length <= 4 ? value.map((each) => digits(each, dtype)).join(", ") : words, { flat });
  }
  return of("json", words);
}

/** Return the sizes of nested lists; null for what is none, or ragged in its first items. */
function sizesOf(value) {
  const sizes = [];
  for (let level = value; Array.isArray(level); [level] = level) {
    if (level.some((each) => Array.isArray(each) !== Array.isArray(level[0]) || each?.length !== level[0]?.length && Array.isArray(each))) return null;
    sizes.push(level.length);
  }
  return sizes.length ? sizes : null;
}

function first(value) {
  while (Array.isArray(value)) [value] = value;
  return value;
}
