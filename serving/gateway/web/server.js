// Requests to the gateway that this page came from, and their errors in words.

import { $ } from "/web/elements.js";
import * as json from "/web/json.js";
import { forPeople } from "/web/refusals.js";

/** Something to tell the user; `status` is HTTP's, 0 where there was no answer. */
export class Failure extends Error {
  constructor(status, text, details = "") {
    super(text);
    this.status = status;
    this.details = details;
  }
}

const MOST_TRIES = 5; // Of a request that the server has no room for now.

// Kept as long as the tab is open, and sent to this server only.
let token = sessionStorage.getItem("token") ?? "";

export const hasToken = () => Boolean(token);

export function setToken(given) {
  token = given;
  sessionStorage.setItem("token", token);
}

/** Called with whether the server answered at all, after each request. */
export const watchers = [];

/**
 * Return the JSON that the server answers, and its text.
 *
 * @param body JSON text; without one, it is a GET.
 * @throws Failure, or an AbortError by `signal`.
 */
export async function call(path, { body, signal } = {}) {
  const headers = token ? { "X-Auth-Token": token } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  for (let tries = 1; ; tries++) {
    const method = body === undefined ? "GET" : "POST";
    const response = await fetched(path, { method, body, signal, headers, cache: "no-store" });
    $("locked").hidden = response.status !== 401;
    const wait = Number(response.headers.get("Retry-After") ?? NaN);
    if (response.status === 429 && wait <= 5 && tries < MOST_TRIES) {
      await paused(wait * 1000 * tries, signal);
      continue;
    }
    const text = await whole(response);
    if (!response.ok) throw failure(response.status, text);
    try {
      return { answer: json.parse(text), text };
    } catch {
      throw new Failure(response.status, "The server’s answer can’t be read: it is not JSON.", text.slice(0, 2000));
    }
  }
}

async function fetched(path, options) {
  try {
    const response = await fetch(path, options);
    for (const watcher of watchers) watcher(true);
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    for (const watcher of watchers) watcher(false);
    throw new Failure(0, "The server does not answer. It may be starting again, or the connection is gone. This page goes on when it is back.");
  }
}

async function whole(response) {
  try {
    return await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "The server’s answer broke off. Ask again.");
  }
}

function paused(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

const MOST_CHARACTERS = 500; // Of what the server says, in short.
const WORDS = {
  400: "The model can’t use this",
  401: "This model asks for a token",
  404: "The server doesn’t have this model or version any more",
  408: "The request took too long to arrive. Send less at once, or over a faster line",
  413: "This is more than the server takes at once",
  429: "The server has its hands full. Try again in a moment",
  500: "The server failed at this; its log says why",
  502: "The model server refuses this",
  503: "The model is not there: it may be starting or changing",
  504: "The model took longer than the server allows. Send less at once",
};

function failure(status, text) {
  let said = text;
  try {
    said = JSON.parse(text).error ?? text;
  } catch {
    // Not from the gateway, but from a proxy before it.
  }
  said = String(said);
  const first = forPeople(said).slice(0, MOST_CHARACTERS);
  const words = WORDS[status] ?? `The server answered with HTTP status ${status}`;
  const details = said === first ? "" : said;
  if (status === 401) return new Failure(status, `${words}.`);
  return new Failure(status, first ? `${words}: ${first}` : `${words}.`, details);
}
