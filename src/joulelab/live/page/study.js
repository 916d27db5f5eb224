const SPREAD = 2654435761, RANGE = 4294967296, POWER_S = 900, MOST_ROWS = 300;
const STATES = ["finished", "failed", "running", "planned"];
const CLASSES = { finished: "done", failed: "failed-runs", running: "running-runs" };
const WORDS = { finished: "finished", failed: "failed", running: "running", planned: "waiting" };
const rows = new Map(), points = new Map(), errors = new Map();
let head = null, share = 1, segments = [], order = 0, picked = null;

// As the server draws them; exact for millions of points.
const isShown = (number) => number * SPREAD % RANGE < share * RANGE;

function show(told) {
  if (told.whole) {
    rows.clear(); points.clear(); errors.clear(); segments = []; order = 0;
    get("rows").replaceChildren();
  }
  head = told.head;
  share = told.share;
  for (const row of told.rows) rows.set(row[0], { row, order: order++, line: (rows.get(row[0]) || {}).line, drawn: null });
  for (const point of told.points) points.set(point[0], point);
  for (const [number, point] of points) if (!point[4] && !isShown(number)) points.delete(number);
  for (const one of told.errors) { errors.delete(one[0]); if (one[1] > 0) errors.set(one[0], one); }
  for (const one of told.power) if (!segments.length || one[0] > segments[segments.length - 1][0]) segments.push(one);
  showHead();
  showRows();
  if (told.whole || told.errors.length) showErrors();
  if (told.whole || told.points.length) showPoints();
  if (told.whole || told.power.length) showPower();
  tick();
}

function drawBar(bar, counts) {
  const all = counts.reduce((sum, one) => sum + one, 0);
  const parts = STATES.slice(0, 3).map((state, at) => {
    const part = make("i", { class: CLASSES[state] });
    part.style.width = `${all ? 100 * counts[at] / all : 0}%`;
    return part;
  });
  bar.replaceChildren(...parts);
}

function showHead() {
  const counts = STATES.map((state) => head.counts[state]), all = counts.reduce((a, b) => a + b, 0);
  say("study", head.study);
  say("folder", head.folder);
  const done = all ? Math.floor(100 * (counts[0] + counts[1]) / all) : 0;
  document.title = all ? `${done} % ${head.study}` : head.study;
  const badge = say("state", { stopped: "not running", gone: "not readable", waiting: "not started" }[head.state] || head.state);
  badge.className = `badge ${head.state}`;
  say("words", head.words + (head.state === "stopped" ? " To go on: joulelab run " + head.folder : ""));
  drawBar(get("bar"), counts);
  const said = STATES.map((state, at) => counts[at] ? `${counts[at].toLocaleString("en")} ${WORDS[state]}` : "").filter(Boolean);
  if (head.interrupted) said.push(`${head.interrupted} interrupted attempt${head.interrupted > 1 ? "s" : ""}`);
  const title = `${all.toLocaleString("en")} run${all === 1 ? "" : "s"}: `;
  get("bar").setAttribute("aria-label", all ? title + said.join(", ") : "");
  get("counts").replaceChildren(all ? title : "",
    ...STATES.flatMap((state, at) => counts[at] ? [make("span", { class: "key" }, make("i", { class: CLASSES[state] || "waiting-runs" }), `${counts[at].toLocaleString("en")} ${WORDS[state]}`)] : []),
    head.interrupted ? make("span", { class: "key" }, said[said.length - 1]) : "");
  get("doing").hidden = !say("doing", head.doing ? `Now: ${head.doing}` : "").textContent;
  get("search").hidden = !say("search", head.search).textContent;
  get("workers").hidden = !head.workers.length;
  get("workers").replaceChildren(...head.workers.map((text) => make("li", {}, text)));
  get("problems").replaceChildren(...head.problems.slice(0, 20).map((text) => make("p", { class: "notice bad" }, text)));
  const energy = head.energy;
  say("energy", energy.text).className = `figure ${energy.status}`;
  sayHow("energy", [`gross, ${energy.status}, with set-up and idle`, energy.lost ? `${energy.lost} of it in failed or interrupted attempts` : ""].filter(Boolean).join("; "));
  say("forecast", energy.forecast || "–");
  get("forecast-bar").hidden = energy.share === null;
  if (energy.share !== null) {
    const part = make("i", { class: energy.share > 1 ? "over" : "done" });
    part.style.width = `${Math.min(100, 100 * energy.share)}%`;
    get("forecast-bar").replaceChildren(part);
  }
  const against = energy.runs ? `The runs so far took ${energy.runs}` + (energy.change ? `, ${energy.change} against their forecast of ${energy.same}` : "") + "." : "";
  const range = energy.range ? `${energy.range} (95 %)` : "";
  sayHow("forecast", [energy.forecast ? `All runs, ${energy.basis}${range && ": "}${range}.` : energy.runs ? "" : "No forecast.", against].filter(Boolean).join(" "));
  get("results").hidden = !head.experiments.some((one) => one.points);
  get("best").replaceChildren(...head.best.map((one) => make("p", {},
    (head.experiments.length > 1 ? `${one.experiment}: best` : "Best") + ` ${one.metric} so far: `, make("strong", {}, one.value), ` for ${one.energy}, ${one.where}`)));
  const metrics = new Set(head.experiments.map((one) => one.metric).filter(Boolean));
  say("metric", metrics.size === 1 ? [...metrics][0] : "Result");
  const select = get("experiment"), names = head.experiments.map((one) => one.name);
  if (select.dataset.names !== JSON.stringify(names)) {
    select.dataset.names = JSON.stringify(names);
    select.replaceChildren(...names.map((name, at) => make("option", { value: at }, name)));
    const first = head.experiments.findIndex((one) => one.points);
    if (first > 0) select.value = String(first);
  }
  get("choice").hidden = names.length < 2;
}

// A number stays with its unit.
const sayHow = (id, text) => say(`${id}-how`, text.replace(/(\d) (?=\S{1,3}(?:[ ,.;:)]|$))/g, "$1\u00a0"));

// What changes by itself.
function tick() {
  if (!head) return;
  const power = head.power;
  if (power) {
    const age = Math.max(0, now() - power.at);
    const old = age > 8 ? `, ${ago(age)} ago` : "";
    say("power", power.text).className = `figure ${power.status}`;
    sayHow("power", `${power.status}, ${power.how}${old}`);
  }
  if (!power) sayHow("power", "no energy is booked yet");
  const left = head.left;
  if (head.state === "finished") { say("left", "none"); sayHow("left", ""); return; }
  if (left.seconds === null) { say("left", left.how ? "unknown" : "–"); sayHow("left", left.how); return; }
  const seconds = head.running ? Math.max(0, left.seconds - Math.max(0, now() - left.from)) : left.seconds;
  say("left", head.running && seconds < 1 ? "soon" : ago(seconds));
  const ends = new Date(Date.now() + 1000 * seconds);
  const day = seconds > 86400 ? `${ends.toLocaleDateString()} ` : "";
  const clock = head.running ? `, until ${day}${ends.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : ", once it goes on";
  sayHow("left", `${left.how}${clock}`);
}

function ago(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${String(Math.floor(seconds % 3600 / 60)).padStart(2, "0")} min` : `${Math.round(hours / 24)} days`;
}

// By experiment as in the study file, then by name, with 2 before 16 and 0.01 before 0.1.
const NUMBER = /(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/;
function compared(one, other) {
  const place = (row) => head.experiments.findIndex((experiment) => experiment.name === row[1]);
  const [left, right] = [one[2].split(NUMBER), other[2].split(NUMBER)];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    if (left[at] === right[at]) continue;
    const apart = at % 2 ? Number(left[at]) - Number(right[at]) : left[at].localeCompare(right[at]);
    if (apart) return place(one) - place(other) || apart;
  }
  return place(one) - place(other) || one[0] - other[0];
}

function showRows() {
  const body = get("rows"), several = head.experiments.length > 1, many = head.configurations > MOST_ROWS;
  if (many && rows.size > MOST_ROWS) {
    const oldest = [...rows.values()].sort((a, b) => b.order - a.order).slice(MOST_ROWS);
    for (const one of oldest) { if (one.line) one.line.remove(); rows.delete(one.row[0]); }
  }
  const sorted = [...rows.values()].sort((a, b) => many ? b.order - a.order : compared(a.row, b.row));
  sorted.forEach((one, at) => {
    const drawn = JSON.stringify([one.row, head.running, several]);
    if (one.drawn !== drawn) {
      const [, experiment, name, counts, energy, change, metric] = one.row;
      if (!head.running) { counts[3] += counts[2]; counts[2] = 0; }
      const bar = make("div", { class: "bar" });
      drawBar(bar, counts);
      const all = counts.reduce((a, b) => a + b, 0), failed = counts[1] ? `, ${counts[1]} failed` : "";
      const label = (several ? `${experiment}: ` : "") + (name || experiment);
      const metricName = (head.experiments.find((other) => other.name === experiment) || {}).metric || "result";
      const line = make("tr", {}, make("th", { class: "text", scope: "row" }, label),
        make("td", { class: "text runs" }, bar, make("span", {}, `${counts[0] + counts[1]} of ${all}${failed}${counts[2] ? `, ${counts[2]} running` : ""}`)),
        make("td", { "data-name": "energy" }, energy), make("td", { "data-name": "against forecast" }, change), make("td", { "data-name": metricName }, metric));
      if (one.line) one.line.replaceWith(line);
      one.line = line;
      one.drawn = drawn;
    }
    if (body.children[at] !== one.line) body.insertBefore(one.line, body.children[at] || null);
  });
  say("rows-note", many ? `The ${rows.size} that changed last, of ${head.configurations.toLocaleString("en")}.` : "");
}

function showErrors() {
  const all = [...errors.values()].reverse().slice(0, 50);
  get("errors-part").hidden = !all.length;
  get("errors").replaceChildren(...all.map(([message, runs, run, details]) => {
    const box = make("div", { class: "error" }, make("p", {}, message),
      make("p", { class: "where" }, runs > 1 ? `${runs.toLocaleString("en")} runs, the last: ${run}` : run));
    if (details) box.append(make("details", {}, make("summary", {}, "Traceback"), make("pre", {}, details)));
    return box;
  }));
}

function showPoints() {
  const at = Number(get("experiment").value || 0), experiment = head.experiments[at], box = get("scatter");
  if (!experiment || !experiment.points) return box.replaceChildren();
  const own = [...points.values()].filter((one) => one[1] === at && one[2] !== null && one[3] !== null);
  if (!own.length) { box.replaceChildren(); say("scatter-note", "No result with an energy yet."); return; }
  const wide = Math.max(300, Math.min(box.clientWidth || WIDE, 900)), height = Math.round(Math.min(420, wide * 0.75));
  const svg = make("svg", { viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": `${experiment.metric} against ${experiment.energy}` });
  const x = new Axis(own.map((one) => one[2]), 62, wide - 14, { log: true }), y = new Axis(own.map((one) => one[3]), height - 46, 22);
  const [unit, name] = size(x.high, JOULES);
  frame(svg, x, y, (value) => short(value / unit), short, height);
  svg.append(make("text", { x: wide - 14, y: height - 6, "text-anchor": "end" }, `${experiment.energy}, ${name} (${experiment.status})`),
    make("text", { x: 4, y: 12 }, experiment.metric + (experiment.better === "min" ? ", lower is better" : "")));
  const front = own.filter((one) => one[4]).sort((a, b) => a[2] - b[2]);
  if (front.length > 1) svg.append(make("path", { class: "front-line", d: front.map((one, i) => (i ? "L" : "M") + x.at(one[2]).toFixed(1) + " " + y.at(one[3]).toFixed(1)).join("") }));
  const radius = own.length > 300 ? 3 : 5;
  for (const one of [...own.filter((o) => !o[4]), ...front]) {
    const dot = make("circle", { cx: x.at(one[2]).toFixed(1), cy: y.at(one[3]).toFixed(1), r: radius, class: (one[4] ? "front" : "") + (picked === one[0] ? " picked" : "") },
      make("title", {}, describe(one, experiment)));
    dot.addEventListener("click", () => { picked = one[0]; showPoints(); });
    svg.append(dot);
  }
  box.replaceChildren(svg);
  const each = experiment.rounds ? "round of a configuration" : "configuration";
  const part = share < 1 ? ` ${own.length.toLocaleString("en")} of ${experiment.points.toLocaleString("en")} are drawn.` : "";
  const chosen = points.get(picked);
  say("scatter-note", chosen && chosen[1] === at ? describe(chosen, experiment)
    : `A point is the mean of a ${each}.${front.length && experiment.better ? " No other has both less energy and a better result than those in orange." : ""}${part}`);
}

function describe(one, experiment) {
  const [unit, name] = size(one[2], JOULES);
  return `${one[6]}: ${experiment.metric} ${short(one[3])}, ${short(one[2] / unit)} ${name}, ${one[5]} run${one[5] > 1 ? "s" : ""}`;
}

function showPower() {
  const newest = segments.length ? segments[segments.length - 1][2] : 0;
  segments = segments.filter((one) => one[2] > newest - POWER_S).sort((a, b) => a[1] - b[1] || a[0] - b[0]);
  get("power-part").hidden = segments.length < 2;
  drawPower(get("power-chart"), segments.map((one) => one.slice(1)));
  segments.sort((a, b) => a[0] - b[0]);
}

get("experiment").addEventListener("change", () => { picked = null; showPoints(); });
window.addEventListener("resize", () => { if (head) { showPoints(); showPower(); } });
