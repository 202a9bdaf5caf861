// Puts the page together: reads what the model is, lets the user ask it, shows the answers.

import { ask, forget, showError } from "/web/answering.js";
import { Asking, Editing } from "/web/asking.js";
import { $, button, choice, element, labelled } from "/web/elements.js";
import { ABOUT, read } from "/web/model.js";
import { call, setToken } from "/web/server.js";
import { modelPath, refreshStatus, status, watchStatus } from "/web/status.js";

let model = null;
let shown = ""; // The metadata that the page is drawn from.
let asking = null;

/** Ask for what the model is, and draw the page anew if that has changed. */
async function readModel() {
  const path = `${modelPath()}/versions/${status().model_version}`;
  try {
    const { answer } = await call(`${path}/metadata`);
    const about = await readAbout(path, answer);
    const found = JSON.stringify([answer.metadata, about]);
    if (found === shown) return;
    model = read(answer, about);
    shown = found;
    document.title = model.title || status().model_name;
    $("title").textContent = model.title || `Ask ${status().model_name}`;
    draw();
  } catch (error) {
    showError(error);
  }
}

async function readAbout(path, metadata) {
  if (!(ABOUT in metadata.metadata.signature_def.signature_def)) return {};
  try {
    const { answer } = await call(`${path}:predict`, { body: JSON.stringify({ signature_name: ABOUT, instances: [""] }) });
    return JSON.parse(answer.predictions[0]);
  } catch (error) {
    console.warn("The model's signature 'about' gives no JSON.", error);
    return {};
  }
}

function draw() {
  forget();
  const { signatures } = model;
  if (!signatures.length) {
    $("question").replaceChildren(element("p", {}, "This model has no signature that takes anything."));
    return;
  }
  const select = choice(signatures.map(({ name }, i) => [String(i), name]), "0", (i) => {
    forget();
    drawSignature(signatures[Number(i)]);
  });
  select.id = "signature";
  $("signatures").replaceChildren(...(signatures.length > 1 ? [labelled("Signature", select)] : []));
  drawSignature(signatures[0]);
}

function drawSignature(signature) {
  const asForm = button("Form", () => drawAsking(signature, true), { id: "as-form" });
  const asJson = button("JSON", () => drawAsking(signature, false), { id: "as-json" });
  $("modes").replaceChildren(...(signature.byForm ? [asForm, asJson] : []));
  drawAsking(signature, signature.byForm);
}

function drawAsking(signature, byForm) {
  const begin = asking?.current?.() ?? null;
  const same = asking?.signature === signature;
  asking = byForm ? new Asking(signature, page) : new Editing(signature, page, same ? begin : null);
  $("as-form")?.setAttribute("aria-pressed", String(byForm));
  $("as-json")?.setAttribute("aria-pressed", String(!byForm));
  $("question").replaceChildren(asking.element);
}

/** What the question's part asks of the page. */
const page = {
  ask,
  clear: forget,
  refuse(error) {
    forget();
    showError(error);
  },
};

for (const name of ["dragover", "dragleave", "drop"]) {
  // On the whole page: a picture that misses the pad must not replace the page.
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("pad")?.classList.toggle("over", name === "dragover");
    if (name === "drop") asking?.useFiles?.([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => asking?.useFiles?.([...event.clipboardData.files]));

$("locked").addEventListener("submit", async (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  await refreshStatus();
});

watchStatus(readModel);
