// Picture files as a model takes them: the files as they are, or their pixels as numbers.

import { isFloat } from "/web/model.js";

export const MOST_SIDE = 640; // Pixels, of pictures as numbers for models that take any size.
export const RANGES = [[0, 1], [0, 255], [-1, 1]];

/** Return the range of a picture's values, and how it is known; empty: it is a guess. */
export function rangeOf({ about, dtype }) {
  if (about.range) return { range: about.range, known: "as the model says" };
  if (dtype === "DT_UINT8") return { range: [0, 255], known: "since it takes uint8" };
  return { range: isFloat(dtype) ? [0, 1] : dtype === "DT_INT8" ? [-128, 127] : [0, 255], known: "" };
}

/** Return a file's content in base64. */
export function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`'${file.name}' can’t be read: ${reader.error.message}`));
    reader.readAsDataURL(file);
  });
}

/**
 * Return one picture as nested lists of numbers, [height, width, channels] or as the input's shape
 * wants it. The whole picture is fitted in, with its proportions; the colour of its border fills the
 * rest. The client does the same.
 *
 * @throws Error in words: it is no picture that this browser knows.
 */
export async function pixels(file, input, [low, high]) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // Upright, as its EXIF says.
  } catch {
    throw new Error(`'${file.name}' is not a picture that this browser can read.`);
  }
  const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = input.width || Math.max(1, Math.round(bitmap.width * scale));
  const height = input.height || Math.max(1, Math.round(bitmap.height * scale));
  const data = fitted(bitmap, width, height, input.channels === 4);
  bitmap.close();
  const whole = !isFloat(input.dtype);
  const values = Array.from({ length: 256 }, (_, byte) => {
    const exact = low + (byte / 255) * (high - low);
    return whole ? Math.round(exact) : Number(exact.toPrecision(7));
  });
  const pixel = (at) => {
    if (input.channels === 1) return [values[Math.round(luminance(data, at))]];
    return Array.from({ length: input.channels }, (_, channel) => values[data[at + channel]]);
  };
  const rows = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => pixel((y * width + x) * 4)));
  if (input.shape.length === 4) return rows;
  const flat = rows.map((row) => row.map(([grey]) => grey));
  return input.shape.length === 3 ? flat : flat.flat();
}

const luminance = (data, at) => (data[at] * 299 + data[at + 1] * 587 + data[at + 2] * 114) / 1000;

/** Return RGBA of a bitmap fitted into a width and height. */
function fitted(bitmap, width, height, transparent) {
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const inner = { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) };
  const canvas = scaled(bitmap, inner.width, inner.height);
  const context = canvas.getContext("2d");
  if (!transparent) onPaper(context, inner);
  if (inner.width === width && inner.height === height) return context.getImageData(0, 0, width, height).data;
  const frame = new OffscreenCanvas(width, height).getContext("2d");
  frame.fillStyle = borderColour(context.getImageData(0, 0, inner.width, inner.height));
  frame.fillRect(0, 0, width, height);
  frame.drawImage(canvas, Math.floor((width - inner.width) / 2), Math.floor((height - inner.height) / 2));
  return frame.getImageData(0, 0, width, height).data;
}

/** Draw a bitmap in steps of one half: browsers scale down much further by leaving pixels out. */
function scaled(bitmap, width, height) {
  let source = bitmap;
  for (;;) {
    const canvas = new OffscreenCanvas(
      source.width > width ? Math.max(width, Math.ceil(source.width / 2)) : width,
      source.height > height ? Math.max(height, Math.ceil(source.height / 2)) : height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    if (canvas.width === width && canvas.height === height) return canvas;
    source = canvas;
  }
}

/** Lay what is transparent on paper from which the rest stands out: white, or black for light ink. */
function onPaper(context, { width, height }) {
  const { data } = context.getImageData(0, 0, width, height);
  let ink = 0;
  let light = 0;
  for (let at = 0; at < data.length; at += 4) {
    ink += data[at + 3];
    light += data[at + 3] * luminance(data, at);
  }
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = light > ink * 127.5 ? "#000" : "#fff";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
}

/** Return the median colour of a picture's edge. */
function borderColour({ data, width, height }) {
  const edge = [];
  for (let x = 0; x < width; x++) edge.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y++) edge.push(y * width, y * width + width - 1);
  const median = (channel) => edge.map((at) => data[at * 4 + channel]).sort((a, b) => a - b)[edge.length >> 1];
  return `rgb(${median(0)} ${median(1)} ${median(2)})`;
}
