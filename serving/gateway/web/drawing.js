// The canvas to draw on by mouse, finger, pen or keyboard; gives the drawing as a PNG file.

import { button, element } from "/web/elements.js";

const SIDE = 280;
const PEN_WIDTH = 22; // Of 280 pixels: about as thick as the strokes of handwriting.
const RESTING_MS = 120; // A drawing may have several strokes: it is done once the hand rests.
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Return the pad, with a button that clears it.
 *
 * @param onDrawn called with the PNG file after each stroke.
 * @param onCleared called when the pad is empty again.
 */
export function drawingPad(onDrawn, onCleared) {
  const canvas = element("canvas", {
    id: "canvas", width: SIDE, height: SIDE, tabIndex: 0, role: "application",
    "aria-label": "Drawing area. Arrow keys move the pen, Space puts it down or lifts it, Delete clears.",
    "aria-describedby": "how",
  });
  const hint = element("p", { className: "hint", "aria-hidden": "true" }, "draw here", element("br"), "or drop a picture");
  const pad = element("div", { id: "pad", className: "pad" }, canvas, hint);
  const how = element("p", { id: "how", className: "quiet" }, "Mouse, finger or pen. With the keyboard: arrow keys move, ",
    element("kbd", {}, "Space"), " puts the pen down or lifts it, ", element("kbd", {}, "Delete"), " clears.");
  const pen = canvas.getContext("2d");
  const picture = element("canvas", { width: SIDE, height: SIDE }); // Without the keyboard's cursor.
  const ink = picture.getContext("2d");
  const key = { x: SIDE / 2, y: SIDE / 2, down: false };
  let last = null; // Where the pen is down, in canvas pixels.
  let resting = null; // The timer of the last stroke, until the pad is cleared.

  function clear() {
    clearTimeout(resting);
    resting = null;
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, SIDE, SIDE);
    key.down = false;
    pad.classList.remove("drawn");
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
    pad.classList.add("drawn");
    paint();
  }

  function rest() {
    clearTimeout(resting);
    const mine = setTimeout(() => {
      picture.toBlob((blob) => {
        // Meanwhile the pad may have been cleared, or drawn on.
        if (mine === resting) onDrawn(new File([blob], "drawing.png", { type: "image/png" }));
      });
    }, RESTING_MS);
    resting = mine;
  }

  function position(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * SIDE) / box.width, y: ((event.clientY - box.top) * SIDE) / box.height };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(resting);
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
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => {
      if (last) rest();
      last = null;
    });
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step) {
      const from = { x: key.x, y: key.y };
      const length = event.shiftKey ? 3 : 9;
      key.x = Math.min(SIDE - 10, Math.max(10, key.x + step[0] * length));
      key.y = Math.min(SIDE - 10, Math.max(10, key.y + step[1] * length));
      if (key.down) {
        stroke(from, key);
        rest();
      }
    } else if (event.key === " ") {
      key.down = !key.down;
      if (key.down) {
        stroke(key, key);
        rest();
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
      onCleared();
    } else {
      return;
    }
    event.preventDefault();
    paint();
  });
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, paint);
  clear();
  const cleared = button("Clear", () => {
    clear();
    onCleared();
  }, { id: "clear" });
  return { pad, how, cleared, clear };
}
