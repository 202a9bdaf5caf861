// JSON as model servers write it: NaN and Infinity as they are, integers of 64 bits to the last digit.

// Numbers are taken whole: the digits behind a point are no integer.
const TOKEN = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const ODD = /NaN|Infinity|\d{16}/;
const MARKED = /^(?:NaN|-?Infinity|-?\d{16,})$/;
const MARK = "\u0001number:";

/** Parse JSON; NaN, Infinity and long integers (as BigInt) included. */
export function parse(text) {
  if (!ODD.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKEN, (token) => (!MARKED.test(token) ? token : `"${MARK.replace("\u0001", "\\u0001")}${token}"`));
  return JSON.parse(marked, (_, value) => {
    if (typeof value !== "string" || !value.startsWith(MARK)) return value;
    const token = value.slice(MARK.length);
    if (/\d/.test(token)) return Number.isSafeInteger(Number(token)) ? Number(token) : BigInt(token);
    return Number(token);
  });
}

/** Write JSON as a model server reads it: the counterpart of `parse`. */
export function write(value) {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return `[${Array.from(value, write).join(",")}]`;
  if (value && typeof value === "object") {
    const members = Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}:${write(each)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** The same for people: objects over lines, and lists of lists; lists of values in one. */
export function pretty(value, indent = "") {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (!value.some((each) => each && typeof each === "object")) return `[${value.map(write).join(", ")}]`;
    return `[\n${value.map((each) => inner + pretty(each, inner)).join(",\n")}\n${indent}]`;
  }
  if (value && typeof value === "object") {
    const members = Object.entries(value);
    if (!members.length) return "{}";
    return `{\n${members.map(([key, each]) => `${inner}${JSON.stringify(key)}: ${pretty(each, inner)}`).join(",\n")}\n${indent}}`;
  }
  return write(value);
}
