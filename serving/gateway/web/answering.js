// The part of the page with the answers: asks the questions, shows waiting, errors and what came.

import { $, button, counted, download, element } from "/web/elements.js";
import { rowsOf, viewsOf } from "/web/reading.js";
import { call, Failure, hasToken } from "/web/server.js";
import { curl, needsRequestFile, python, REQUEST_FILE } from "/web/snippets.js";
import { modelPath, status } from "/web/status.js";
import { render, tableOf } from "/web/views.js";

const AT_ONCE = 3; // Requests under way: more would only wait at the server.
const SHOW_WAITING_MS = 300;
const BEGINNING = 120; // Pixels of a long answer that show that it is there.

let current = null; // The questions being answered: `{questions, results, stop, shown}`.

/** Forget question and answer. */
export function forget() {
  current?.stop.abort();
  current = null;
  for (const id of ["waiting", "saving", "code"]) $(id).hidden = true;
  hideError();
  $("more").replaceChildren();
  $("answer").replaceChildren(element("p", { className: "quiet" }, "Nothing is asked yet."));
}

function hideError() {
  $("error").replaceChildren();
  $("error").hidden = true;
}

/** Show an error in place of the answer. */
export function showError(error) {
  const parts = [element("p", {}, error.message)];
  if (error.details) parts.push(element("details", {}, element("summary", {}, "What the server said"), element("pre", { className: "code", tabIndex: 0 }, error.details.slice(0, 10_000))));
  $("error").replaceChildren(...parts);
  $("error").hidden = false;
}

/** Ask questions, each in a request of its own; the last call wins. */
export async function ask(questions) {
  current?.stop.abort(new DOMException("superseded", "AbortError"));
  const run = { questions, results: questions.map(() => ({ state: "waiting" })), stop: new AbortController(), chosen: 0, touched: false };
  current = run;
  hideError();
  const stopWaiting = showWaiting(run);
  drawList(run);
  const left = questions.map((_, i) => i);
  const work = async () => {
    while (left.length && !run.stop.signal.aborted) await answerOne(run, left.shift());
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, questions.length) }, work));
  } finally {
    stopWaiting();
  }
}

async function answerOne(run, i) {
  const question = run.questions[i];
  const result = run.results[i];
  try {
    const body = await question.prepare();
    result.version = status().model_version;
    result.path = `${modelPath()}/versions/${result.version}:${question.signature.method}`;
    const { answer, text } = await call(result.path, { body, signal: run.stop.signal });
    Object.assign(result, { state: "answered", text, rows: rowsOf(question.signature, answer) });
    result.views = result.rows.map((row) => viewsOf(question.signature, row));
  } catch (error) {
    if (error.name === "AbortError") {
      if (run === current) Object.assign(result, { state: "failed", error: new Failure(0, "Cancelled.") });
      else return;
    } else {
      if (!(error instanceof Failure)) console.warn(error);
      Object.assign(result, { state: "failed", error });
    }
  }
  if (run !== current) return;
  if (!run.touched && run.results[run.chosen].state !== "answered" && result.state === "answered" && run.results[0].state !== "waiting") run.chosen = i;
  drawList(run);
  if (i === run.chosen || run.questions[0].signature.pictures.length === 0) show(run);
}

function showWaiting(run) {
  const started = performance.now();
  const said = element("span", {});
  const cancel = button("Cancel", () => run.stop.abort(), { className: "small", id: "cancel" });
  const tick = () => {
    if (run !== current) return;
    const done = run.results.filter(({ state }) => state !== "waiting").length;
    const seconds = Math.floor((performance.now() - started) / 1000);
    const of = run.questions.length > 1 ? `, ${done} of ${run.questions.length} answered` : "";
    said.textContent = seconds ? `Waiting for the answer: ${seconds} s${of}` : `Waiting for the answer${of} …`;
    if ($("waiting").hidden) {
      $("waiting").replaceChildren(said, cancel);
      $("waiting").hidden = false;
    }
  };
  $("answer").setAttribute("aria-busy", "true");
  $("answer").classList.add("old");
  const first = setTimeout(tick, SHOW_WAITING_MS);
  const timer = setInterval(tick, 1000);
  return () => {
    clearTimeout(first);
    clearInterval(timer);
    if (run !== current) return;
    $("waiting").hidden = true;
    $("answer").setAttribute("aria-busy", "false");
  };
}

/** The list of pictures, each with its answer in short. */
function drawList(run) {
  if (run.questions.length < 2 || !run.questions[0].thumbnail) {
    $("more").replaceChildren();
    return;
  }
  const items = run.questions.map((question, i) => {
    const { state, views } = run.results[i];
    const short = { waiting: "…", failed: "not answered", answered: views?.[0]?.[0]?.short ?? "answered" }[state];
    const choose = () => {
      run.chosen = i;
      run.touched = true;
      drawList(run);
      show(run);
      $("more").querySelectorAll("button")[i].focus();
    };
    const made = button("", choose, { className: `is-${state}`, title: question.name, "aria-pressed": String(i === run.chosen) });
    made.append(thumbnail(question), element("strong", {}, short), element("span", { className: "quiet" }, question.name));
    return element("li", {}, made);
  });
  $("more").replaceChildren(...items);
}

function thumbnail(question) {
  question.url ??= URL.createObjectURL(question.thumbnail);
  const image = element("img", { src: question.url, alt: "", loading: "lazy" });
  image.onerror = () => image.remove(); // No picture, or none that this browser knows.
  return image;
}

function show(run) {
  const question = run.questions[run.chosen];
  const result = run.results[run.chosen];
  $("answer").classList.remove("old");
  hideError();
  if (result.state === "waiting") return;
  const failed = question.thumbnail ? (result.state === "failed" ? [result] : []) : run.results.filter(({ state }) => state === "failed");
  if (failed.length) {
    const { error } = failed[0];
    const about = run.questions.length > 1 ? run.questions[run.results.indexOf(failed[0])].name : "";
    showError(about ? new Failure(error.status, `${about}: ${error.message}`, error.details) : error);
  }
  const answered = question.thumbnail ? run.results.slice(run.chosen, run.chosen + 1) : run.results;
  const rows = answered.flatMap(({ rows, views }, part) => (rows ?? []).map((row, i) => ({ row, views: views[i], part, i })));
  $("answer").replaceChildren(...(question.thumbnail ? [sent(question)] : []), ...(rows.length > 1 ? [rowsTable(rows)] : rows.length ? detail(rows[0].views) : []));
  $("saving").hidden = !rows.length;
  $("saving").replaceChildren(button("Save the answer", () => saveAnswers(answered), { className: "small" }));
  showCode(question, result);
  if (rows.length) intoView();
}

/** The picture that was sent, in small. */
function sent(question) {
  const image = thumbnail(question);
  Object.assign(image, { alt: `The picture ${question.name}`, className: "sent" });
  return image;
}

function saveAnswers(results) {
  const texts = results.filter(({ text }) => text).map(({ text }) => text.trim());
  download("answer.json", texts.length === 1 ? texts[0] : `[${texts.join(",\n")}]`, "application/json");
}

function detail(views) {
  return views.map((view, i) => render(view, i === 0));
}

/** Several rows: the views in short, and all of the one that is chosen. */
function rowsTable(rows) {
  const shown = element("div", {});
  const names = ["row", ...rows[0].views.map(({ alias }) => alias)];
  const cells = rows.map(({ views }, i) => [
    button(String(i + 1), () => shown.replaceChildren(element("h3", {}, `Row ${i + 1}`), ...detail(views)), { className: "small", "aria-label": `Show row ${i + 1}` }),
    ...views.map(({ short }) => short),
  ]);
  const said = element("p", { id: "best", className: "middle" }, counted(rows.length, "row"));
  return element("div", {}, said, tableOf(names, cells, "Answers by row"), shown);
}

function showCode(question, result) {
  if (!result.path) {
    $("code").hidden = true;
    return;
  }
  const server = { origin: location.origin, path: result.path, token: hasToken(), model: status().model_name, version: result.version };
  const parts = [["curl", curl(question, server)], ["Python", python(question, server)]].map(([name, text]) => {
    const copy = button("Copy", async () => {
      await copied(text);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 2000);
    }, { className: "small", "aria-label": `Copy the ${name} code` });
    return element("section", {}, element("div", { className: "head" }, element("h3", {}, name), copy), element("pre", { className: "code", tabIndex: 0, id: `code-${name.toLowerCase()}` }, text));
  });
  const files = [];
  if (question.file) files.push(button(`Save ${question.file.name}`, () => download(question.file.name, question.file), { className: "small" }));
  if (needsRequestFile(question)) files.push(button(`Save ${REQUEST_FILE}`, () => download(REQUEST_FILE, question.template[0], "application/json"), { className: "small" }));
  $("snippets").replaceChildren(...parts, element("div", { className: "buttons" }, ...files));
  $("code").hidden = false;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS browsers have no clipboard for pages.
    const field = element("textarea", { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

/** On a phone the answer is below what was asked. */
function intoView() {
  const best = $("best") ?? $("answer");
  const { bottom, top } = best.getBoundingClientRect();
  if (top >= 0 && Math.min(bottom, top + BEGINNING) <= innerHeight) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("answer-title").scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}
