// Elements of the page, made and found.

export const $ = (id) => document.getElementById(id);

/** Return a new element with properties, attributes (`aria-…`, `data-…`, `role`) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/^(aria-|data-|role$|for$|colspan$)/.test(name)) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function button(text, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, text);
}

let numbers = 0;

/** Return a label and its field, one below the other. */
export function labelled(text, field, hint = "") {
  field.id ||= `field-${++numbers}`;
  const label = element("label", { for: field.id }, text);
  if (!hint) return element("div", { className: "field" }, label, field);
  const described = element("p", { className: "quiet", id: `${field.id}-hint` }, hint);
  field.setAttribute("aria-describedby", described.id);
  return element("div", { className: "field" }, label, field, described);
}

/** Return a select with options, each a value and its text. */
export function choice(options, chosen, onchange) {
  const select = element("select", { onchange: () => onchange?.(select.value) });
  for (const [value, text] of options)
    select.append(element("option", { value, selected: value === chosen }, text));
  return select;
}

/** Offer content as a file. */
export function download(name, content, type = "application/octet-stream") {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Words for a count: `1 row`, `2 rows`. */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
