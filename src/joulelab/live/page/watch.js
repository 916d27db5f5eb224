const HISTORY_S = 600;
let head = null, times = [], boxes = new Map();

function show(told) {
  head = told.head;
  if (told.whole) times = [];
  for (const one of told.history) if (!times.length || one[0] > times[times.length - 1][0]) times.push(one);
  const newest = times.length ? times[times.length - 1][0] : 0;
  times = times.filter((one) => one[0] > newest - HISTORY_S);
  document.title = `${head.power.text} Joulelab`;
  say("since", `Watched for ${head.duration}.`);
  say("power", head.power.text).className = `figure ${head.power.status}`;
  say("power-how", `${head.power.status}; ${head.power.domains}`);
  say("energy", head.energy.text).className = `figure ${head.energy.status}`;
  say("energy-how", `${head.energy.status}, in ${head.duration}`);
  head.domains.forEach((domain, at) => {
    if (!boxes.has(domain.name)) {
      const box = { now: make("b"), text: make("p"), chart: make("div", { class: "chart" }) };
      boxes.set(domain.name, box);
      get("domains").append(make("section", { class: "domain" }, make("h3", {}, make("span", {}, domain.name), box.now), box.text, box.chart));
    }
    const box = boxes.get(domain.name);
    box.now.textContent = domain.now;
    box.now.className = domain.status;
    box.text.textContent = domain.words;
    drawPower(box.chart, times.map((one) => [one[0], one[1], one[2][at] === undefined ? null : one[2][at]]), 140);
  });
}

function tick() {}

window.addEventListener("resize", () => { if (head) show({ head, whole: false, history: [] }); });
