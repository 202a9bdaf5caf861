"use strict";
// Draws, sends what was drawn to /v1/predict, shows the answer. The server centres and scales the
// digit, so that drawings and picture files are treated alike.

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const pen = canvas.getContext("2d");
const PEN_WIDTH = 22; // Of 280 pixels: about as thick as MNIST's strokes once scaled down.
const STATUS_EVERY_MS = 5000;

// --- Drawing -------------------------------------------------------------------------------------

let last = null; // Where the pen is down, in canvas pixels.
const key = { x: 140, y: 140, down: false };
const picture = document.createElement("canvas"); // The drawing without the keyboard's cursor.
picture.width = picture.height = 280;
const ink = picture.getContext("2d");

function clearDrawing() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, 280, 280);
  key.down = false;
  $("drop").classList.remove("drawn");
  paint();
}

function paint() {
  pen.drawImage(picture, 0, 0);
  if (document.activeElement !== canvas || !canvas.matches(":focus-visible")) return;
  pen.beginPath();
  pen.arc(key.x, key.y, PEN_WIDTH / 2, 0, 7);
  pen.lineWidth = 2;
  pen.strokeStyle = key.down ? "#ff9d00" : "#8fa5ff";
  pen.stroke();
}

function stroke(from, to) {
  ink.strokeStyle = "#fff";
  ink.lineWidth = PEN_WIDTH;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(from.x, from.y);
  ink.lineTo(to.x, to.y);
  ink.stroke();
  $("drop").classList.add("drawn");
  paint();
}

function position(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * 280) / box.width,
    y: ((event.clientY - box.top) * 280) / box.height,
  };
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  last = position(event);
  stroke(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) {
    const next = position(part);
    stroke(last, next);
    last = next;
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, () => {
    if (last) sendDrawing();
    last = null;
  });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step) {
    const from = { x: key.x, y: key.y };
    const length = event.shiftKey ? 3 : 9;
    key.x = Math.min(270, Math.max(10, key.x + step[0] * length));
    key.y = Math.min(270, Math.max(10, key.y + step[1] * length));
    if (key.down) {
      stroke(from, key);
      sendDrawing();
    }
  } else if (event.key === " ") {
    key.down = !key.down;
    if (key.down) {
      stroke(key, key);
      sendDrawing();
    }
  } else if (event.key === "Delete" || event.key === "Backspace") {
    clearAll();
  } else {
    return;
  }
  event.preventDefault();
  paint();
});
for (const name of ["focus", "blur"]) canvas.addEventListener(name, paint);

// --- The token -----------------------------------------------------------------------------------

// Kept as long as the tab is open, and sent to this server only.
let token = sessionStorage.getItem("token") ?? "";

async function call(path, options = {}) {
  const headers = token ? { "X-Auth-Token": token } : {};
  const response = await fetch(path, { ...options, headers });
  $("locked").hidden = response.status !== 401;
  return response;
}

$("locked").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  await refreshStatus();
  if ($("locked").hidden && $("drop").classList.contains("drawn")) sendDrawing();
});

// --- Asking the model ----------------------------------------------------------------------------

let asked = 0; // Answers to anything but the last question are stale.
let waiting = null;

function sendDrawing() {
  clearTimeout(waiting);
  // A digit may have several strokes: ask once the hand rests.
  waiting = setTimeout(() => {
    picture.toBlob((blob) => ask([new File([blob], "drawing.png", { type: "image/png" })]));
  }, 120);
}

async function ask(files) {
  const question = ++asked;
  const form = new FormData();
  for (const file of files) form.append("images", file, file.name);
  let answer;
  try {
    const response = await call("/v1/predict", { method: "POST", body: form });
    answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
  } catch (error) {
    if (question === asked) showError(error.message || "The server does not answer.");
    return;
  }
  if (question === asked) showAnswer(answer);
}

function showError(text) {
  show(null);
  $("more").replaceChildren();
  $("error").textContent = text;
  $("error").hidden = false;
}

function showAnswer(answer) {
  $("error").hidden = true;
  const results = answer.predictions.map((digit, i) => ({
    digit,
    probabilities: answer.probabilities?.[i] ?? [],
    seen: answer.seen[i],
    name: answer.files[i],
    version: answer.model_version,
  }));
  show(results[0]);
  const buttons = results.length < 2 ? [] : results.map((result, i) => {
    const button = element("button", "");
    button.type = "button";
    button.title = result.name;
    button.setAttribute("aria-pressed", String(i === 0));
    const image = element("img", "");
    image.src = result.seen;
    image.alt = "";
    button.append(image, element("strong", "", String(result.digit)), element("span", "quiet", result.name));
    button.addEventListener("click", () => {
      show(result);
      for (const other of $("more").querySelectorAll("button"))
        other.setAttribute("aria-pressed", String(other === button));
    });
    const item = element("li", "");
    item.append(button);
    return item;
  });
  $("more").replaceChildren(...buttons);
}

function show(result) {
  $("digit").textContent = result ? String(result.digit) : "–";
  $("digit").classList.toggle("none", !result);
  $("seen").hidden = !result;
  if (result) $("seen").src = result.seen;
  $("caption").textContent = result ? `as version ${result.version} sees it` : "";
  bars.forEach((bar, digit) => {
    const share = result?.probabilities[digit] ?? 0;
    bar.fill.style.width = `${(share * 100).toFixed(1)}%`;
    bar.percent.textContent = result?.probabilities.length ? `${(share * 100).toFixed(1)} %` : "";
    bar.item.classList.toggle("best", result?.digit === digit);
  });
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const bars = Array.from({ length: 10 }, (_, digit) => {
  const item = element("li", "");
  const track = element("div", "track");
  const fill = element("div", "fill");
  const percent = element("span", "percent");
  track.append(fill);
  item.append(element("span", "", String(digit)), track, percent);
  $("bars").append(item);
  return { item, fill, percent };
});

// --- Buttons, files ------------------------------------------------------------------------------

function clearAll() {
  clearTimeout(waiting);
  asked++;
  clearDrawing();
  show(null);
  $("more").replaceChildren();
  $("error").hidden = true;
}

async function useFiles(files) {
  if (!files.length) return;
  clearAll();
  try {
    const image = await createImageBitmap(files[0]);
    const scale = Math.min(280 / image.width, 280 / image.height);
    const [w, h] = [image.width * scale, image.height * scale];
    ink.drawImage(image, (280 - w) / 2, (280 - h) / 2, w, h);
    $("drop").classList.add("drawn");
    paint();
  } catch {
    // The server says what is wrong with it.
  }
  ask([...files]);
}

$("clear").addEventListener("click", () => {
  clearAll();
  canvas.focus({ focusVisible: false });
});
$("file").addEventListener("change", (event) => {
  useFiles([...event.target.files]);
  event.target.value = "";
});
for (const name of ["dragover", "dragleave", "drop"]) {
  // On the whole page: a picture that misses the pad must not replace the page.
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") useFiles([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => useFiles([...event.clipboardData.files]));

// --- The model -----------------------------------------------------------------------------------

function words(name) {
  return name.replaceAll("_", " ");
}

function percent(name, value) {
  return /accuracy/.test(name) ? `${(value * 100).toFixed(2)} %` : String(+value.toPrecision(4));
}

async function refreshStatus() {
  let status;
  try {
    const response = await call("/status");
    status = response.ok ? await response.json() : { state: "LOCKED" };
  } catch {
    status = { state: "UNREACHABLE" };
  }
  const chips = [];
  if (status.model_name) chips.push(element("span", "chip", status.model_name));
  if (status.model_version) chips.push(element("span", "chip", `version ${status.model_version}`));
  const good = status.state === "AVAILABLE";
  chips.push(element("span", `chip ${good ? "good" : "bad"}`, status.state.toLowerCase()));
  // How good it is belongs to the top, what its training took below.
  const numbers = Object.entries(status.metrics ?? {}).filter(([, value]) => Number.isFinite(value));
  const isQuality = ([name]) => /accuracy|loss/.test(name);
  for (const [name, value] of numbers.filter(isQuality))
    chips.push(element("span", "chip", `${words(name)} ${percent(name, value)}`));
  if (status.tensorboard_url) {
    const link = element("a", "chip", "TensorBoard");
    link.href = status.tensorboard_url;
    chips.push(link);
  }
  $("model").replaceChildren(...chips);
  const facts = Object.entries(status.parameters ?? {}).map(([k, v]) => `${k} = ${v}`);
  facts.push(...numbers.filter((each) => !isQuality(each)).map(([k, v]) => `${words(k)} ${percent(k, v)}`));
  if (status.created) facts.unshift(`trained ${new Date(status.created).toLocaleString()}`);
  if (status.run_hash) facts.push(`run ${status.run_hash.slice(0, 12)}`);
  $("facts").replaceChildren(...facts.map((fact) => element("span", "", fact)));
}

clearDrawing();
show(null);
refreshStatus();
setInterval(() => document.hidden || refreshStatus(), STATUS_EVERY_MS);
