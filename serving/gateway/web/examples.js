// A request that is right in type and shape, to begin with in the editor.

import { BYTES, isFloat } from "/web/model.js";

const MOST_VALUES = 20_000; // More than anybody edits by hand.

/** Return REST's path verb and body for a signature, as far as its metadata says. */
export function exampleBody(signature) {
  if (signature.method !== "predict")
    return { signature_name: signature.name, examples: [{ feature: 0 }] };
  const inputs = Object.fromEntries(signature.inputs.map((input) => [input.alias, exampleValue(input)]));
  return { signature_name: signature.name, inputs };
}

function exampleValue(input) {
  const { shape, perRow, about } = input;
  const sizes = (shape ?? [-1]).map((size) => (size < 0 ? 1 : size));
  if (about.example !== undefined) return perRow ? [about.example] : about.example;
  if (about.choices?.length) return filled(sizes, about.choices[0]);
  // Too large to type: a program makes it. The server says what is missing.
  if (sizes.reduce((all, size) => all * size, 1) > MOST_VALUES) return [];
  return filled(sizes, single(input));
}

function single({ alias, dtype }) {
  if (dtype === "DT_STRING") return BYTES.test(alias) ? { b64: "" } : "text";
  if (dtype === "DT_BOOL") return false;
  return isFloat(dtype) ? 0.5 : 0;
}

function filled(sizes, value) {
  if (!sizes.length) return value;
  return Array.from({ length: sizes[0] }, () => filled(sizes.slice(1), value));
}
