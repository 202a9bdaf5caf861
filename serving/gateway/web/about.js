// What a model says of itself (docs/contracts.md), as far as it is of the kinds that are agreed.
//
// The client reads it as leniently: what is of another kind counts as not said.

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const object = (value) => (isObject(value) ? value : {});
const isText = (value) => typeof value === "string" && value.trim() !== "";
const isScalar = (value) => typeof value === "string" || Number.isFinite(value);

const KINDS = {
  description: isText,
  unit: isText,
  range: (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1],
  choices: (value) => Array.isArray(value) && value.length > 0 && value.every(isScalar),
  drawing: (value) => value === true,
  example: (value) => value !== null,
  labels: (value) => Array.isArray(value) && value.length > 0 && value.every((label) => typeof label === "string"),
};

const tensor = (said) => Object.fromEntries(Object.entries(object(said)).filter(([key, value]) => KINDS[key]?.(value)));
// Maps, since a tensor may be called `constructor`.
const tensors = (said) => new Map(Object.entries(object(said)).map(([alias, entry]) => [alias, tensor(entry)]));

/** Return `{title, inputs, outputs}`, the latter two of Maps by alias, of what the signature gave. */
export function readAbout(said) {
  const { title, inputs, outputs } = object(said);
  return { title: isText(title) ? title : "", inputs: tensors(inputs), outputs: tensors(outputs) };
}
