// The part of the page where a question is made: pictures, fields, or JSON.

import { drawingPad } from "/web/drawing.js";
import { choice, counted, element, labelled } from "/web/elements.js";
import { exampleBody } from "/web/examples.js";
import { FieldError, Form } from "/web/form.js";
import * as json from "/web/json.js";
import { described, takesRows } from "/web/model.js";
import { base64, MOST_SIDE, pixels, RANGES, rangeOf } from "/web/pictures.js";
import { Question } from "/web/questions.js";

const MOST_ROWS = 256; // In one request; more rows go in several.

/**
 * The pictures and fields of a signature.
 *
 * @param page what to call: `ask` with questions, each with `prepare()`, which gives the JSON to
 *   send; `clear` when there is nothing to answer any more; `refuse` with an error of the user's
 */
export class Asking {
  constructor(signature, page) {
    this.signature = signature;
    this.page = page;
    [this.picture] = signature.pictures;
    const fields = signature.inputs.filter((input) => input !== this.picture);
    this.form = fields.length ? new Form(fields, takesRows(signature) && !this.picture) : null;
    this.element = element("div", {});
    if (this.picture) this.element.append(...this.pictureParts());
    if (this.form) this.element.append(this.fieldParts());
  }

  fieldParts() {
    const submit = element("button", { type: "submit", id: "ask", className: "main" }, this.picture ? "Ask again" : "Ask the model");
    const onsubmit = (event) => {
      event.preventDefault();
      try {
        if (this.picture) this.again?.();
        else this.askFields();
      } catch (error) {
        this.refuse(error);
      }
    };
    return element("form", { noValidate: true, onsubmit }, this.form.element, element("div", { className: "buttons" }, submit));
  }

  refuse(error) {
    if (!(error instanceof FieldError)) throw error;
    this.page.refuse(error);
    error.field?.focus();
  }

  // --- Pictures ----------------------------------------------------------------------------------

  pictureParts() {
    const { about, kind } = this.picture;
    const parts = [];
    if (about.description) parts.push(element("p", {}, about.description));
    // What ends in `_bytes` may be sounds as well.
    const accept = kind === "picture" || /ima?ge?|pic|photo/i.test(this.picture.alias) ? "image/*" : "";
    const file = element("input", { id: "file", className: "hidden", type: "file", multiple: true, accept });
    const camera = element("input", { id: "camera", className: "hidden camera", type: "file", accept: "image/*" });
    camera.setAttribute("capture", "environment");
    for (const input of [file, camera])
      input.addEventListener("change", () => {
        this.useFiles([...input.files]);
        input.value = "";
      });
    const choose = [file, element("label", { className: "button", for: "file" }, accept ? "Choose pictures" : "Choose files")];
    if (accept) choose.push(camera, element("label", { className: "button camera", for: "camera" }, "Take a photo"));
    if (about.drawing) {
      this.drawing = drawingPad((drawn) => this.askFiles([drawn]), () => this.page.clear());
      parts.push(this.drawing.pad, element("div", { className: "buttons" }, this.drawing.cleared, ...choose), this.drawing.how);
    } else {
      parts.push(element("div", { id: "pad", className: "drop" }, element("p", {}, accept ? "Drop or paste pictures here, or" : "Drop or paste files here, or"), element("div", { className: "buttons" }, ...choose)));
    }
    if (kind === "picture") parts.push(this.rangeParts());
    return parts;
  }

  rangeParts() {
    const { range, known: how } = rangeOf(this.picture);
    this.range = range;
    const { width, height, channels } = this.picture;
    const size = width && height ? `fitted into ${width}×${height}` : `in their own size, at most ${MOST_SIDE} pixels a side`;
    const colours = { 1: "grey", 3: "RGB", 4: "RGBA" }[channels];
    const facts = element("p", { className: "quiet" }, `Pictures are ${size}, ${colours}.`);
    if (how) {
      facts.textContent += ` Black is ${range[0]} and white is ${range[1]}, ${how}.`;
      return facts;
    }
    const known = RANGES.map(([low, high]) => [`${low},${high}`, `${low} to ${high}`]);
    const current = String(range);
    if (!known.some(([value]) => value === current)) known.unshift([current, range.join(" to ")]);
    const select = choice(known, current, (value) => {
      this.range = value.split(",").map(Number);
      this.again?.();
    });
    select.id = "range";
    return element("div", {}, facts, labelled("Values from black to white", select,
      "A guess: the model doesn’t say which values it was trained with. If its answers make no sense, try another range."));
  }

  /** Take files that were chosen, dropped or pasted. */
  useFiles(files) {
    if (!files.length || !this.picture) return;
    this.drawing?.clear();
    this.askFiles(files);
  }

  askFiles(files) {
    this.again = () => this.askFiles(files);
    let fields;
    try {
      fields = this.form?.values() ?? {};
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.page.ask(files.map((file) => this.pictureQuestion(file, fields)));
  }

  pictureQuestion(file, fields) {
    const { alias, kind } = this.picture;
    const options = { name: file.name || "picture", signature: this.signature, inputs: fields, thumbnail: file };
    if (kind === "file") {
      const question = Question.withFile({ ...options, file }, alias);
      question.prepare = async () => question.body(await base64(file));
      return question;
    }
    const question = new Question(options);
    const { range } = this;
    question.prepare = async () => {
      question.inputs = { ...fields, [alias]: [await pixels(file, this.picture, range)] };
      return question.body();
    };
    return question;
  }

  // --- Fields ------------------------------------------------------------------------------------

  askFields() {
    const { rows } = this.form;
    const questions = [];
    for (let start = 0; start < rows.length; start += MOST_ROWS) {
      const count = Math.min(MOST_ROWS, rows.length - start);
      const question = new Question({ name: `rows ${start + 1} to ${start + count}`, signature: this.signature, inputs: this.form.values(start, count), rows: count });
      question.prepare = async () => question.body();
      questions.push(question);
    }
    this.page.ask(questions);
  }

  /** The inputs so far as JSON, to go on with in the editor; null if they are not whole. */
  current() {
    if (this.picture) return null;
    try {
      return { signature_name: this.signature.name, inputs: this.form.values() };
    } catch {
      return null;
    }
  }
}

/** The editor for JSON, with an example that is right in type and shape. */
export class Editing {
  constructor(signature, page, begin) {
    this.signature = signature;
    this.page = page;
    const text = element("textarea", { id: "json", className: "code", rows: 14, spellcheck: false, value: json.pretty(begin ?? exampleBody(signature)) });
    const takes = signature.inputs.map((input) => element("li", {}, element("code", {}, input.alias), ` ${described(input)}`, input.about.description ? `: ${input.about.description}` : ""));
    const submit = element("button", { type: "submit", id: "ask", className: "main" }, "Ask the model");
    const form = element("form", { onsubmit: (event) => {
      event.preventDefault();
      const question = this.question(text.value);
      if (question) page.ask([question]);
    } }, labelled("Body of a REST request", text), element("div", { className: "buttons" }, submit));
    this.element = element("div", {}, element("p", {}, `The model takes ${counted(takes.length, "input")}:`), element("ul", { className: "takes" }, ...takes), form);
  }

  question(text) {
    let parsed;
    try {
      parsed = json.parse(text);
    } catch (error) {
      this.page.refuse(new Error(`This is not JSON: ${error.message}.`));
      return null;
    }
    const inputs = parsed?.inputs;
    const byName = inputs && typeof inputs === "object" && !Array.isArray(inputs) && !("b64" in inputs) && parsed.signature_name === this.signature.name;
    const question = new Question({ name: "JSON", signature: this.signature, text, inputs: byName ? inputs : null });
    question.prepare = async () => question.body();
    return question;
  }
}

