// Rows of texts, numbers and choices as fields of a form; also from CSV.

import { parseCsv } from "/web/csv.js";
import { button, choice, counted, element, labelled } from "/web/elements.js";
import { integerRange, isFloat } from "/web/model.js";

const MOST_SHOWN = 20; // Rows with fields; what a CSV has beyond is sent as well.
const MOST_TYPED = 1_000_000; // Characters of a CSV file that are shown for changes.

/** What stands in a field's way; `field` is its element, if it is on the page. */
export class FieldError extends Error {
  constructor(text, field) {
    super(text);
    this.field = field;
  }
}

/** The fields of an input: `alias`, or `alias 1`, `alias 2`, …. */
function fieldsOf(input) {
  return Array.from({ length: input.fields }, (_, i) => ({
    input, index: i,
    name: input.fields === 1 ? input.alias : `${input.alias} ${i + 1}`,
    initial: initialOf(input, i),
  }));
}

function initialOf({ about, kind, fields }, index) {
  let example = about.example;
  while (Array.isArray(example)) example = example[fields > 1 ? index : 0];
  // Of a text that isn't UTF-8, as `{"b64": …}`, there is nothing to show in a field.
  if (["string", "number", "boolean"].includes(typeof example)) return String(example);
  if (about.choices?.length) return String(about.choices[0]);
  return kind === "boolean" ? "false" : "";
}

/** Return the value of a text that was typed into a field. */
function valueOf({ input, name }, text, where, element_) {
  if (input.kind === "text") return text;
  if (input.kind === "boolean") {
    if (/^(true|1|yes)$/i.test(text.trim())) return true;
    if (/^(false|0|no)$/i.test(text.trim())) return false;
    throw new FieldError(`${where}'${name}' is '${text}'. Give true or false.`, element_);
  }
  const given = text.trim();
  if (!given) throw new FieldError(`${where}'${name}' is empty. Give a number.`, element_);
  if (isFloat(input.dtype)) {
    const known = { nan: NaN, inf: Infinity, infinity: Infinity, "-inf": -Infinity, "-infinity": -Infinity };
    const value = known[given.toLowerCase()] ?? Number(given);
    if (Number.isNaN(value) && given.toLowerCase() !== "nan")
      throw new FieldError(`${where}'${name}' is '${given}'. Give a number, with a point for decimals.`, element_);
    return value;
  }
  const [low, high] = integerRange(input.dtype);
  if (!/^[-+]?\d+$/.test(given) || BigInt(given) < low || BigInt(given) > high)
    throw new FieldError(`${where}'${name}' is '${given}'. Give a whole number from ${low} to ${high}.`, element_);
  const value = BigInt(given);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** A form for the inputs of a signature that are no pictures. */
export class Form {
  /**
   * @param inputs of kinds `text`, `number`, `boolean`
   * @param severalRows whether rows may be added
   */
  constructor(inputs, severalRows) {
    this.inputs = inputs;
    const fields = inputs.flatMap(fieldsOf);
    this.rowFields = fields.filter(({ input }) => input.perRow);
    this.sharedFields = fields.filter(({ input }) => !input.perRow);
    this.severalRows = severalRows && this.rowFields.length > 0;
    this.rows = [this.fresh(this.rowFields)];
    this.shared = this.fresh(this.sharedFields);
    this.rowsPlace = element("div", { id: "rows" });
    this.element = element("div", { className: "form" });
    if (this.sharedFields.length) this.element.append(this.fieldset(this.shared, this.sharedFields, "For all rows", null));
    this.element.append(this.rowsPlace);
    if (this.severalRows) this.element.append(this.rowTools());
    this.draw();
  }

  fresh(fields) {
    return { texts: Object.fromEntries(fields.map((field) => [field.name, field.initial])), elements: {} };
  }

  rowTools() {
    const text = element("textarea", { rows: 4, spellcheck: false, placeholder: this.rowFields.map(({ name }) => name).join(",") });
    const said = element("p", { className: "quiet", role: "status" });
    const use = button("Use these rows", () => {
      said.textContent = this.useCsv(text.value);
    });
    const file = element("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv" });
    file.addEventListener("change", async () => {
      const content = await file.files[0].text();
      text.value = content.length <= MOST_TYPED ? content : "";
      said.textContent = this.useCsv(content);
    });
    const csv = element("details", { className: "csv" }, element("summary", {}, "Rows from CSV"),
      labelled("CSV, from a spreadsheet or a file", text, "A first line of names is understood; without one, columns are in the order of the fields."),
      element("div", { className: "buttons" }, use), labelled("CSV file", file), said);
    const add = button("Add a row", () => {
      this.rows.push(this.fresh(this.rowFields));
      this.draw();
      this.rowsPlace.lastElementChild.querySelector("input, textarea, select")?.focus();
    }, { id: "add-row" });
    return element("div", {}, element("div", { className: "buttons" }, add), csv);
  }

  /** Take rows from CSV; return what was done, in words. */
  useCsv(text) {
    let found;
    try {
      found = parseCsv(text);
    } catch (error) {
      return error.message;
    }
    if (!found.length) return "There are no rows.";
    const names = this.rowFields.map(({ name }) => name);
    const plain = (name) => name.trim().toLowerCase();
    const header = found[0].map(plain);
    const known = names.filter((name) => header.includes(plain(name)));
    const places = known.length ? names.map((name) => header.indexOf(plain(name))) : names.map((_, i) => i);
    const missing = names.filter((_, i) => places[i] < 0);
    if (known.length && missing.length) return `The CSV has no column ${missing.map((name) => `'${name}'`).join(", ")}.`;
    const twice = known.find((name) => header.indexOf(plain(name)) !== header.lastIndexOf(plain(name)));
    if (twice) return `The CSV has column '${twice}' twice. Leave one out.`;
    if (known.length) found.shift();
    const short = found.findIndex((row) => row.length <= Math.max(...places));
    if (short >= 0) return `Row ${short + 1} of the CSV has ${counted(found[short].length, "column")}, the model takes ${names.length}: ${names.join(", ")}.`;
    if (!found.length) return "The CSV has names, and no rows below them.";
    this.rows = found.map((cells) => ({ texts: Object.fromEntries(names.map((name, i) => [name, cells[places[i]]])), elements: {} }));
    this.draw();
    return `${counted(found.length, "row")} taken.`;
  }

  draw() {
    const shown = this.rows.slice(0, MOST_SHOWN).map((row, i) =>
      this.fieldset(row, this.rowFields, this.rows.length > 1 ? `Row ${i + 1}` : "", this.rows.length > 1 ? () => {
        this.rows.splice(i, 1);
        this.draw();
      } : null));
    this.rowsPlace.replaceChildren(...shown);
    if (this.rows.length > MOST_SHOWN)
      this.rowsPlace.append(element("p", { className: "quiet" }, `And ${counted(this.rows.length - MOST_SHOWN, "row")} more, which are sent as well.`));
  }

  fieldset(row, fields, title, onRemove) {
    const set = element("fieldset", {}, title ? element("legend", {}, title) : null);
    row.elements = {};
    for (const field of fields) {
      const made = this.field(row, field);
      row.elements[field.name] = made;
      const { description = "", unit } = field.input.about;
      set.append(labelled(unit ? `${field.name} (${unit})` : field.name, made, field.index ? "" : description));
    }
    if (onRemove) set.append(button("Remove", onRemove, { className: "small", "aria-label": `Remove ${title}` }));
    return set;
  }

  field(row, { input, name }) {
    const keep = (text) => {
      row.texts[name] = text;
    };
    const choices = input.kind === "boolean" ? ["false", "true"] : input.about.choices;
    if (choices?.length && choices.some((each) => String(each) === row.texts[name]))
      return choice(choices.map((each) => [String(each), String(each)]), row.texts[name], keep);
    const made = input.kind === "text" && input.fields === 1
      ? element("textarea", { rows: this.inputs.length > 1 ? 1 : 3 })
      : element("input", { type: "text", inputMode: input.kind === "number" ? "decimal" : "text", autocomplete: "off" });
    made.value = row.texts[name];
    if (input.kind === "number") made.placeholder = isFloat(input.dtype) ? "number" : "whole number";
    made.addEventListener("input", () => keep(made.value));
    return made;
  }

  /**
   * Return values by input name for `count` rows from `start`.
   * @throws FieldError
   */
  values(start = 0, count = this.rows.length) {
    const rows = this.rows.slice(start, start + count);
    const several = this.rows.length > 1;
    return Object.fromEntries(this.inputs.map((input) => {
      const fields = fieldsOf(input);
      const vector = input.shape?.length === 2;
      const of = (row, where) => {
        const values = fields.map((field) => valueOf(field, row.texts[field.name] ?? "", where, row.elements[field.name]));
        return vector ? values : values[0];
      };
      if (input.perRow) return [input.alias, rows.map((row, i) => of(row, several ? `Row ${start + i + 1}: ` : ""))];
      const value = of(this.shared, "");
      return [input.alias, input.single ? [value] : value];
    }));
  }
}
