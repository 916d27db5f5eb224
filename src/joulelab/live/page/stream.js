"use strict";
// The stream of changes. A browser that sleeps, or loses the connection, names the last change that
// it has seen when it comes back, and gets what it has missed.
const SILENT_MS = 25000, HIDDEN_MS = 60000;
const get = (id) => document.getElementById(id);
let stream = null, seen = "", heard = 0, over = false, resting = 0, offset = 0;

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "text", "title"].includes(name);
  const one = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(...children);
  return one;
}

// Texts of a study are only ever set as text.
function say(id, text) {
  const one = get(id);
  if (one.textContent !== text) one.textContent = text;
  return one;
}

const now = () => Date.now() / 1000 + offset;

function lost(text) {
  get("lost").hidden = !text;
  say("lost", text);
}

function connect() {
  if (stream) stream.close();
  heard = Date.now();
  stream = new EventSource("events" + (seen ? "?seen=" + encodeURIComponent(seen) : ""));
  stream.addEventListener("change", (event) => {
    const told = JSON.parse(event.data);
    heard = Date.now();
    offset = told.head.now - Date.now() / 1000;
    lost("");
    seen = told.id;
    show(told);
  });
  stream.addEventListener("beat", () => { heard = Date.now(); lost(""); });
  stream.addEventListener("wrong", (event) => {
    heard = Date.now();
    const text = JSON.parse(event.data).text;
    lost(text && `What is shown is old; it cannot be updated: ${text}`);
  });
  stream.addEventListener("end", () => {
    over = true;
    stream.close();
    lost("The page has ended; it shows the last state.");
  });
  stream.onerror = () => {
    if (over) return;
    lost("No connection: what is shown is old. Trying again ...");
    // A refused stream is not tried again by the browser itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (!over && !document.hidden) connect(); }, 3000);
  };
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(resting);
  if (over) return;
  if (document.hidden) {
    // Nobody looks: nothing is read for this page any more.
    resting = setTimeout(() => { stream.close(); stream = null; }, HIDDEN_MS);
  } else if (!stream || stream.readyState === EventSource.CLOSED) {
    connect();
  }
});

setInterval(() => {
  if (stream && !over && !document.hidden && Date.now() - heard > SILENT_MS) connect();
  tick();
}, 1000);

window.addEventListener("DOMContentLoaded", connect);
