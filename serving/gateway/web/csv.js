// Comma, semicolon, tab or bar separated values, as spreadsheets copy and save them.

const SEPARATORS = [",", ";", "\t", "|"];

/**
 * Return rows of texts; quotes as in RFC 4180, lines as they end anywhere.
 * @throws Error in words: a quote is never closed.
 */
export function parseCsv(given) {
  const text = given.replace(/^\uFEFF/, "");
  const [first = ""] = text.match(/[^\r\n]+/) ?? [];
  const count = (separator) => first.split(separator).length;
  // The one that is there most often, the first of equals: so the client has it.
  const separator = SEPARATORS.reduce((best, each) => (count(each) > count(best) ? each : best));
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.some((each) => each.trim() !== "")) rows.push(row);
    row = [];
    cell = "";
  };
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === separator) {
      row.push(cell);
      cell = "";
    } else if (letter === "\n" || letter === "\r") endRow();
    else cell += letter;
  }
  if (quoted) throw new Error(`A quote is never closed, behind row ${rows.length} of the CSV.`);
  endRow();
  return rows;
}
