const WIDE = 640;

function size(value, units) {
  for (const [least, unit, name] of units) if (Math.abs(value) >= least) return [unit, name];
  return units[units.length - 1].slice(1);
}
const JOULES = [[1e6, 1e6, "MJ"], [1e4, 1e3, "kJ"], [0.1, 1, "J"], [0, 1e-3, "mJ"]];
const short = (value) => String(Number(value.toPrecision(4)));

// Round numbers from low to high; on a logarithmic axis 1, 2 and 5 times a power of ten.
function ticks(low, high, log, most = 5) {
  const found = [];
  if (log) {
    for (let ten = Math.floor(Math.log10(low)); ten <= Math.log10(high); ten++)
      for (const times of [1, 2, 5]) {
        const value = times * 10 ** ten;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    const every = Math.ceil(found.length / (most + 1));
    return found.filter((_, at) => at % every === 0);
  }
  const rough = (high - low) / most || 1, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * ten >= rough) * ten;
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-12) + 1e-12; at++) found.push(at * step);
  return found;
}

class Axis {
  constructor(values, from, to, { zero = false, log = false } = {}) {
    let low = Infinity, high = -Infinity;
    for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
    this.log = log && low > 0 && high / low > 20;
    if (zero) { low = Math.min(0, low); high *= 1.08; }
    if (!(high > low)) { const half = Math.abs(high) / 10 || 1; low -= zero ? 0 : half; high += half; }
    else if (this.log) { const share = (high / low) ** 0.04; low /= share; high *= share; }
    else { const share = (high - low) * 0.05; low -= zero ? 0 : share; high += share; }
    Object.assign(this, { low, high, from, to });
  }
  at(value) {
    const [low, high, one] = this.log ? [this.low, this.high, value].map(Math.log) : [this.low, this.high, value];
    return this.from + (this.to - this.from) * (one - low) / (high - low);
  }
  ticks(most) { return ticks(this.low, this.high, this.log, most); }
  same(other) { return other && other.low === this.low && other.high === this.high && other.to === this.to && other.log === this.log; }
}

function frame(svg, x, y, xText, yText, height) {
  for (const value of x.ticks(5)) {
    const at = x.at(value);
    svg.append(make("line", { class: "axis", x1: at, x2: at, y1: y.to, y2: y.from }),
      make("text", { x: at, y: height - 24, "text-anchor": "middle" }, xText(value)));
  }
  for (const value of y.ticks(4)) {
    const at = y.at(value);
    svg.append(make("line", { class: "axis", x1: x.from, x2: x.to, y1: at, y2: at }),
      make("text", { x: x.from - 6, y: at + 4, "text-anchor": "end" }, yText(value)));
  }
}

// Power over the last minutes: steps from [start, end, watts].
function drawPower(box, steps, height = 170) {
  const wide = Math.max(300, Math.min(box.clientWidth || WIDE, 900));
  const svg = make("svg", { viewBox: `0 0 ${wide} ${height}`, role: "img", "aria-label": "Power over time" });
  const known = steps.filter((step) => step[2] !== null);
  if (!known.length) return box.replaceChildren();
  const last = known[known.length - 1][1];
  const x = new Axis([], 52, wide - 14), y = new Axis(known.map((step) => step[2]), height - 42, 8, { zero: true });
  x.low = known[0][0]; x.high = Math.max(last, x.low + 1); x.log = false;
  const ago = (seconds) => seconds < 1 ? "now" : seconds < 120 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`;
  const span = x.high - x.low;
  frame(svg, { from: x.from, to: x.to, at: (v) => x.at(v), ticks: () => [x.low, x.low + span / 2, x.high] }, y,
    (value) => ago(last - value), (value) => `${short(value)} W`, height);
  let path = "", area = "", end = null;
  for (const [from, to, watts] of known) {
    const [a, b, w] = [x.at(from), x.at(to), y.at(watts)].map((v) => v.toFixed(1));
    path += (end !== null && from - end < 3 ? "L" : "M") + `${a} ${w}L${b} ${w}`;
    area += `M${a} ${y.from}L${a} ${w}L${b} ${w}L${b} ${y.from}Z`;
    end = to;
  }
  svg.append(make("path", { class: "area", d: area }), make("path", { class: "line", d: path }));
  box.replaceChildren(svg);
}
