// The request that was just made, for a shell and for Python.

import * as json from "/web/json.js";

const MOST_TYPED = 4000; // Characters of JSON in a command; more are for a file.
export const REQUEST_FILE = "request.json";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Whether the code needs the request as a file. */
export const needsRequestFile = (question) => !question.file && question.template[0].length > MOST_TYPED;

/**
 * Return the command that sends a question.
 * @param server `{origin, path, token}`: path of the prediction, whether a token is asked for.
 */
export function curl(question, { origin, path, token }) {
  const lines = [];
  if (token) lines.push(": \"${TOKEN:?Set TOKEN to the token of this model.}\"");
  if (origin.startsWith("https:")) lines.push("# With a certificate that the stack made: add --cacert ca.pem (pulumi stack output caCertificate).");
  const ask = [
    `curl -sS ${quoted(origin + path)} -H 'Content-Type: application/json'`,
    ...(token ? ['-H "Authorization: Bearer $TOKEN"'] : []),
  ].join(" \\\n  ");
  if (question.file) {
    const [head, tail] = question.template;
    lines.push(`{ printf %s ${quoted(head)}; base64 < ${quoted(question.file.name)} | tr -d '\\n'; printf %s ${quoted(tail)}; } |\n  ${ask} \\\n  --data-binary @-`);
  } else if (needsRequestFile(question)) {
    lines.push(`${ask} \\\n  --data-binary @${REQUEST_FILE}`);
  } else {
    lines.push(`${ask} \\\n  --data-binary ${quoted(question.template[0])}`);
  }
  return lines.join("\n");
}

/** Return the same as a Python program: with dlstack's client where it can say it. */
export function python(question, server) {
  const typedBytes = !question.file && question.template[0].includes(`"b64"`);
  const known = question.signature.method === "predict" && question.inputs && !typedBytes;
  return known ? withClient(question, server) : withUrllib(question, server);
}

function withClient(question, { origin, model, version, token }) {
  const { hostname, port, protocol } = new URL(origin);
  const tls = protocol === "https:";
  const named = [
    JSON.stringify(hostname.replace(/^\[|\]$/g, "")), JSON.stringify(model), `port=${port || (tls ? 443 : 80)}`, 'transport="rest"', `version=${version}`,
    ...(tls ? ["tls=Tls()"] : []), ...(token ? ['token=os.environ["TOKEN"]'] : []),
  ];
  const fromFile = needsRequestFile(question);
  const standard = [fromFile ? "import json" : "", token ? "import os" : "", question.file || fromFile ? "from pathlib import Path" : ""].filter(Boolean);
  const lines = [...standard, ...(standard.length ? [""] : []), `from client import Client${tls ? ", Tls" : ""}  # Installed as a package: from dlstack_client`, ""];
  if (tls) lines.push('# With a certificate that the stack made: Tls(ca="ca.pem").');
  if (fromFile) lines.push(`inputs = json.loads(Path("${REQUEST_FILE}").read_text())["inputs"]`);
  else lines.push(`inputs = ${literal(question.inputs, question.file)}`);
  lines.push(
    `with Client(${named.join(", ")}) as client:`,
    `    answer = client.predict(inputs, signature=${JSON.stringify(question.signature.name)})`,
    "for name, array in answer.outputs.items():",
    "    print(name, array.tolist())",
  );
  return lines.join("\n");
}

function withUrllib(question, { origin, path, token }) {
  const body = needsRequestFile(question)
    ? `open("${REQUEST_FILE}", "rb").read()`
    : `${JSON.stringify(question.template[0])}.encode()`;
  return [
    ...(token ? ["import os"] : []),
    "import urllib.request",
    "",
    `request = urllib.request.Request(${JSON.stringify(origin + path)}, data=${body})`,
    'request.add_header("Content-Type", "application/json")',
    ...(token ? ['request.add_header("Authorization", f"Bearer {os.environ[\'TOKEN\']}")'] : []),
    "with urllib.request.urlopen(request) as answer:",
    "    print(answer.read().decode())",
  ].join("\n");
}

function literal(value, file) {
  if (Array.isArray(value)) return `[${value.map((each) => literal(each, file)).join(", ")}]`;
  if (value && typeof value === "object") {
    if ("b64" in value) return `Path(${JSON.stringify(file.name)}).read_bytes()`;
    return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${literal(each, file)}`).join(", ")}}`;
  }
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" && !Number.isFinite(value)) return `float("${String(value).toLowerCase()}")`;
  return json.write(value);
}
