// One request to the model each: what is sent, and how a program would send it.

import * as json from "/web/json.js";

/** What is put in place of a file's content until it is sent. */
const FILE = "\u0001file";

/**
 * A question: `name` for lists, `body` for the server, and what the code to copy needs.
 * `thumbnail` is the picture's file, if it is one.
 */
export class Question {
  constructor({ name, signature, inputs, rows = 1, thumbnail = null, file = null, text = null }) {
    Object.assign(this, { name, signature, inputs, rows, thumbnail, file, text });
  }

  /** The inputs with a file's place in them. */
  static withFile(options, alias) {
    return new Question({ ...options, inputs: { ...options.inputs, [alias]: [{ b64: FILE }] } });
  }

  /** JSON, with the file left out; `template[0] + base64 + template[1]`, or all in the first. */
  get template() {
    return (this.text ?? json.write({ signature_name: this.signature.name, inputs: this.inputs })).split(JSON.stringify(FILE).slice(1, -1));
  }

  /** JSON for the server. */
  body(base64) {
    return this.template.join(base64 ?? "");
  }
}
