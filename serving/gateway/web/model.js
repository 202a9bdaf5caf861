// What a model takes and answers, from its metadata and from what it says of itself (`about`).
//
// Metadata has types, shapes and names, never what they mean. Where the page has to guess, the guess
// is in `guesses`, to be shown.

import { readAbout } from "/web/about.js";

export const ABOUT = "about"; // The signature by which a model says what it is (docs/contracts.md).
export const BYTES = /_bytes$/; // REST's convention for everything that isn't text.
const MOST_FIELDS = 32; // Of one input in a form; more are for the JSON editor, or a CSV file.
const LEAST_PICTURE_SIDE = 8;

const INTEGERS = {
  DT_INT8: [-128n, 127n], DT_UINT8: [0n, 255n], DT_INT16: [-32768n, 32767n], DT_UINT16: [0n, 65535n],
  DT_INT32: [-(2n ** 31n), 2n ** 31n - 1n], DT_UINT32: [0n, 2n ** 32n - 1n],
  DT_INT64: [-(2n ** 63n), 2n ** 63n - 1n], DT_UINT64: [0n, 2n ** 64n - 1n],
};
const FLOATS = new Set(["DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"]);

export const integerRange = (dtype) => INTEGERS[dtype];
export const isFloat = (dtype) => FLOATS.has(dtype);
export const isNumber = (dtype) => isFloat(dtype) || dtype in INTEGERS;

/** Return the sizes of a tensor, -1 for open ones; null for any number of them. */
function shapeOf(given) {
  if (given.unknown_rank) return null;
  return (given.dim ?? []).map((dim) => Number(dim.size));
}

/** `float32 [?, 4]`, for people. */
export function described({ dtype, shape }) {
  const names = { DT_FLOAT: "float32", DT_DOUBLE: "float64", DT_HALF: "float16" };
  const type = names[dtype] ?? dtype.replace("DT_", "").toLowerCase();
  return `${type} ${shape === null ? "of any shape" : `[${shape.map((size) => (size < 0 ? "?" : size)).join(", ")}]`}`;
}

/**
 * How an input is asked for:
 * - `file`: encoded picture files, as they are
 * - `picture`: pictures as numbers: `height`, `width` (0: the picture's own), `channels`
 * - `text`, `number`, `boolean`: `fields` of them in each row
 * - `json`: whatever else
 */
function inputOf(alias, tensor, said) {
  const input = { alias, dtype: tensor.dtype, shape: shapeOf(tensor.tensor_shape), about: said ?? {} };
  return Object.assign(input, kindOf(input));
}

function kindOf({ alias, dtype, shape, about }) {
  const rank = shape?.length;
  const perRow = shape === null || (rank > 0 && shape[0] < 0);
  const open = shape === null || rank === 0 || perRow || shape[0] === 1;
  if (!open) return { kind: "json", perRow: false };
  // A first dimension of 1 is a row as well: one at a time.
  const single = !perRow && rank > 0;
  const of = (kind, more) => ({ kind, perRow, single, ...more });
  if (dtype === "DT_STRING" && rank === 1 && BYTES.test(alias)) return of("file");
  const picture = isNumber(dtype) && rank > 1 ? pictureOf(shape, about) : null;
  if (picture) return of("picture", picture);
  const fields = shape === null || rank <= 1 ? 1 : rank === 2 ? shape[1] : 0;
  if (fields < 1 || fields > MOST_FIELDS) return of("json");
  if (dtype === "DT_STRING") return of(BYTES.test(alias) ? "json" : "text", { fields });
  if (dtype === "DT_BOOL") return of("boolean", { fields });
  return of(isNumber(dtype) ? "number" : "json", { fields });
}

function pictureOf(shape, about) {
  const [, height, width, channels = 1] = shape;
  const large = (size) => size < 0 || size >= LEAST_PICTURE_SIDE;
  if (shape.length === 4 && [1, 3, 4].includes(channels) && large(height) && large(width))
    return { height: Math.max(height, 0), width: Math.max(width, 0), channels };
  // Rows of time series look the same: only what is square, or said to be a picture.
  const flat = shape.length === 2 && about.drawing ? Math.sqrt(height) : 0;
  if (flat && Number.isInteger(flat)) return { height: flat, width: flat, channels: 1 };
  if (shape.length === 3 && height > 0 && (height === width ? height >= 16 : about.drawing))
    return { height, width, channels: 1 };
  return null;
}

function signatureOf(name, given, about, examples) {
  const inputs = Object.entries(given.inputs ?? {}).sort().map(([alias, tensor]) => {
    const input = inputOf(alias, tensor, about.inputs.get(alias));
    return examples.has(tensor.name) ? { ...input, kind: "json" } : input;
  });
  const outputs = Object.entries(given.outputs ?? {}).sort().map(([alias, tensor]) => ({
    alias, dtype: tensor.dtype, shape: shapeOf(tensor.tensor_shape), about: about.outputs.get(alias) ?? {},
  }));
  const method = methodOf(given);
  const pictures = inputs.filter((input) => input.kind === "file" || input.kind === "picture");
  const byForm = method === "predict" && pictures.length <= 1 && inputs.every((input) => input.kind !== "json");
  return { name, method, inputs, outputs, pictures, byForm };
}

const methodOf = (given) => /\/(classify|regress)$/.exec(given.method_name ?? "")?.[1] ?? "predict";

/** Tensors that take whole examples (tf.Example), whose features no metadata tells. */
function exampleTensors(defined) {
  const given = Object.values(defined).filter((each) => methodOf(each) !== "predict");
  return new Set(given.flatMap((each) => Object.values(each.inputs ?? {}).map(({ name }) => name)));
}

/** How likely it is that this signature is what a person wants. */
function rank(signature) {
  const [picture] = signature.pictures;
  return (
    (signature.byForm ? 100 : 0) +
    (picture?.about.drawing ? 50 : 0) +
    (picture?.kind === "file" ? 40 : picture ? 20 : 0) +
    (signature.inputs.some((input) => Object.keys(input.about).length) ? 10 : 0) +
    (signature.name === "serving_default" ? 5 : 0) +
    Math.min(signature.outputs.length, 4)
  );
}

/** Return `{title, signatures}`, the likeliest signature first; `said` is what the model says of itself. */
export function read(metadata, said) {
  const about = readAbout(said);
  const defined = metadata.metadata.signature_def.signature_def;
  const examples = exampleTensors(defined);
  const signatures = Object.entries(defined)
    .filter(([name, given]) => name !== ABOUT && !name.startsWith("__") && Object.keys(given.inputs ?? {}).length)
    .map(([name, given]) => signatureOf(name, given, about, examples))
    .sort((a, b) => rank(b) - rank(a) || (a.name < b.name ? -1 : 1));
  return { title: about.title, signatures, saysWhatItIs: ABOUT in defined };
}

/** Whether rows of a signature may go in one request. */
export const takesRows = (signature) => signature.inputs.some((input) => input.perRow);
