// Comma, semicolon or tab separated values, as spreadsheets copy and save them.

/** Return rows of texts; quotes as in RFC 4180. */
export function parseCsv(text) {
  const separator = ["\t", ";", ","].find((each) => text.split("\n", 1)[0].includes(each)) ?? ",";
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    const row = rows.at(-1);
    if (quoted) {
      if (letter !== '"') row[row.length - 1] += letter;
      else if (text[i + 1] === '"') row[row.length - 1] += text[++i];
      else quoted = false;
    } else if (letter === '"' && row.at(-1) === "") quoted = true;
    else if (letter === separator) row.push("");
    else if (letter === "\n") rows.push([""]);
    else if (letter !== "\r") row[row.length - 1] += letter;
  }
  return rows.filter((row) => row.some((cell) => cell.trim() !== ""));
}
