// What an error of the model server says to people. The gateway's form and the client say the same.

// Of an assertion in a graph, its first value: docs/contracts.md.
const ASSERTED = /assertion failed: \[(.+?)\](?= \[|\s*\n|\s*$)/s;
// As TensorFlow writes quotes, ends of lines and bytes that are no text.
const ESCAPED = /\\([0-7]{3}|.)/gs;
// Of TensorFlow's decoders.
const DAMAGED = /\bInvalid (?:PNG|JPEG|GIF)\b|Incomplete bmp content|Input size should match \(header_size|Failed to decode WebP/;
// Below the first line are names of a graph's nodes and where in the source they come from.
const WHERE = /\n|\s*\[\[\{\{node/;
// For whoever runs the server.
const FLAG = / \(--\w+\)/g;

export function forPeople(text) {
  const asserted = ASSERTED.exec(text)?.[1];
  if (asserted) return asserted.replace(ESCAPED, (_, code) => (/^[\\"'?]$/.test(code) ? code : " ")).trim();
  const first = text.split(WHERE)[0].trim().replaceAll(FLAG, "");
  return DAMAGED.test(first) ? "the file is damaged or incomplete" : first;
}
