// Which model serves, how good it is, and whether it is there: the chips at the top, facts below.

import { $, element } from "/web/elements.js";
import { call, watchers } from "/web/server.js";

const EVERY_MS = 5000;
const QUALITY = /accuracy|loss|error|f1|auc|precision|recall|mae|rmse/i;

const words = (name) => name.replaceAll("_", " ");
const figure = (name, value) => (/accuracy/.test(name) ? `${(value * 100).toFixed(2)} %` : String(+value.toPrecision(4)));
const STATES = {
  AVAILABLE: "available", LOADING: "loading", START: "starting", UNLOADING: "going away", END: "not loaded",
  UNREACHABLE: "model server not reachable", GONE: "no connection", LOCKED: "locked", UNKNOWN: "unknown",
};

let known = { state: "" };

/** What `/status` said last. */
export const status = () => known;

/**
 * Look at the model now, and again every few seconds.
 * @param onVersion called when another version, or the first, is available.
 */
export async function watchStatus(onVersion) {
  let version = null;
  let looking = false;
  const look = async () => {
    looking = true;
    known = await asked();
    looking = false;
    show();
    if (known.state === "AVAILABLE" && known.model_version !== version) {
      version = known.model_version;
      await onVersion();
    }
  };
  // What another request has seen is true for this one as well.
  watchers.push((answers) => {
    if (!answers && known.state !== "GONE") {
      known = { ...known, state: "GONE", error: "" };
      show();
    }
    // An answer to `look` itself is no reason for another one.
    if (answers && known.state === "GONE" && !looking) look();
  });
  setInterval(() => document.hidden || look(), EVERY_MS);
  document.addEventListener("visibilitychange", () => document.hidden || look());
  refresh = look;
  await look();
}

let refresh = async () => {};

/** Look at the model now. */
export const refreshStatus = () => refresh();

async function asked() {
  try {
    return (await call("/status")).answer;
  } catch (failure) {
    if (!failure.status) return { ...known, state: "GONE", error: "" };
    if (failure.status === 401) return { ...known, state: "LOCKED", error: "" };
    return { ...known, state: "UNKNOWN", error: failure.message };
  }
}

function show() {
  const good = known.state === "AVAILABLE";
  const chip = (text, kind = "") => element("span", { className: `chip ${kind}` }, text);
  const link = (text, href) => element("a", { className: "chip", href }, text);
  const chips = [];
  if (known.model_name) chips.push(chip(known.model_name));
  if (known.model_version) chips.push(chip(`version ${known.model_version}`));
  chips.push(chip(STATES[known.state] ?? known.state.toLowerCase(), good ? "good" : "bad"));
  // How good it is belongs to the top, what its training took below.
  const numbers = Object.entries(known.metrics ?? {}).filter(([, value]) => Number.isFinite(value));
  for (const [name, value] of numbers.filter(([name]) => QUALITY.test(name))) chips.push(chip(`${words(name)} ${figure(name, value)}`));
  if (known.tensorboard_url) chips.push(link("TensorBoard", known.tensorboard_url));
  if (known.model_version) chips.push(link("metadata", `${modelPath()}/versions/${known.model_version}/metadata`));
  // The same again is no news for whoever listens to it.
  const text = chips.map((each) => each.outerHTML).join();
  if ($("model").dataset.shown !== text) {
    $("model").dataset.shown = text;
    $("model").replaceChildren(...chips);
  }
  $("trouble").textContent = known.error ?? "";
  $("trouble").hidden = !known.error;
  const facts = Object.entries(known.parameters ?? {}).map(([name, value]) => `${name} = ${value}`);
  facts.push(...numbers.filter(([name]) => !QUALITY.test(name)).map(([name, value]) => `${words(name)} ${figure(name, value)}`));
  if (!Number.isNaN(Date.parse(known.created))) facts.unshift(`trained ${new Date(known.created).toLocaleString()}`);
  if (known.run_hash) facts.push(`run ${known.run_hash.slice(0, 12)}`);
  $("facts").replaceChildren(...facts.map((fact) => element("span", {}, fact)));
}

/** Path of the model below REST's address. */
export const modelPath = () => `/v1/models/${encodeURIComponent(known.model_name)}`;
