// Traces over one axis on a plain canvas: zoom, two cursors, search. All numbers are float64, as NumPy wrote them.
(() => {
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const COLOURS = [ // amcsim.plot's
  [0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233], [0, 0, 0], [138, 109, 0],
];
const LEFT = 84, RIGHT = 24, TOP = 22, GAP = 18, BOTTOM = 44;

// --- data -------------------------------------------------------------------------------------------------------------
const X = decode(data.axis.values), N = X.length;
let rising = true, falling = true;
for (let i = 1; i < N; i++) { rising &&= X[i] >= X[i - 1]; falling &&= X[i] <= X[i - 1]; }
if (falling && !rising) { X.reverse(); rising = true; } else falling = false;
for (const m of data.measures) m.value = Number(m.value); // NaN and infinity come as words
const units = [...new Set(data.traces.map((t) => t.unit))];
const panels = units.map((unit) => ({ unit, traces: data.traces.filter((t) => t.unit === unit), range: null }));
for (const panel of panels) {
  panel.log = panel.traces.every((t) => t.log);
  panel.name = data.quantities[panel.unit] ?? (panel.traces.length === 1 ? panel.traces[0].name : "value");
  panel.traces.forEach((t, k) => { t.panel = panel; t.colour = COLOURS[k % COLOURS.length]; });
}
const byName = new Map(data.traces.map((t) => [t.name, t]));
const raw = (t) => (t.raw ??= falling ? decode(t.values).reverse() : decode(t.values)); // decoded when first shown
const bent = (t) => (t.bent ??= bend(raw(t), t.panel.log));
let logX = data.axis.log, XT = bend(X, logX);
const forth = (x) => (logX ? Math.log10(x) : x), back = (x) => (logX ? 10 ** x : x);
function after(x) { // first point at or after x, by bisection
  let low = 0, high = N;
  while (low < high) { const mid = (low + high) >> 1; if (X[mid] < x) low = mid + 1; else high = mid; }
  return low;
}
function read(t, x) { // as numpy.interp, but NaN beyond the ends; the first crossing where the axis turns back
  const y = raw(t);
  let i = rising ? after(x) : 0;
  if (!rising) while (i < N && !(i && (X[i] - x) * (X[i - 1] - x) <= 0) && X[i] !== x) i++;
  if (i >= N || (i === 0 && X[0] !== x)) return NaN;
  return X[i] === x ? y[i] : y[i - 1] + ((y[i] - y[i - 1]) / (X[i] - X[i - 1])) * (x - X[i - 1]);
}

function seen() { // the panels that hold something
  const some = panels.filter((p) => p.traces.some((t) => t.shown));
  return some.length ? some : panels.slice(0, 1);
}
const heightOf = (t, x) => bend([read(t, x)], t.panel.log)[0]; // a trace's place on its panel's axis
const rowOf = (p, v) => p.y + ((p.high - v) / (p.high - p.low)) * p.height;

// --- view -------------------------------------------------------------------------------------------------------------
const plot = byId("plot"), over = byId("over"), ctx = plot.getContext("2d"), top2d = over.getContext("2d");
const sheet = document.createElement("canvas");
let view = null, width = 0, height = 0, hot = null, pending = 0, rest = 0;
const cursors = { A: NaN, B: NaN };
let last = "A";
const whole = () => { const [a, b] = extent(XT) ?? [0, 1]; return a < b ? [a, b] : [a - 0.5, a + 0.5]; };
const across = (v) => LEFT + ((v - view[0]) / (view[1] - view[0])) * (width - LEFT - RIGHT);
const px = (x) => across(forth(x));
const atPx = (p) => back(view[0] + ((p - LEFT) / (width - LEFT - RIGHT)) * (view[1] - view[0]));
function fit(panel) { // the range of y that shows all of what is shown
  if (panel.range) return panel.range;
  let low = Infinity, high = -Infinity;
  for (const t of panel.traces) {
    const e = t.shown && (t.extent ??= extent(bent(t)));
    if (e) [low, high] = [Math.min(low, e[0]), Math.max(high, e[1])];
  }
  if (low > high) return [0, 1];
  const room = 0.06 * (high - low) || 0.1 * Math.abs(high) || 0.5;
  return [low - room, high + room];
}
function draw(print = 0, quick = false) {
  pending = 0;
  clearTimeout(rest);
  const start = performance.now(), drawn = seen(), box = plot.parentElement, ratio = print || window.devicePixelRatio || 1;
  width = print ? 700 : Math.max(420, box.clientWidth);
  const room = print ? 520 : window.innerHeight - box.getBoundingClientRect().top - window.scrollY - 24;
  height = Math.max(room, TOP + BOTTOM + drawn.length * (print ? 150 : 190), 380);
  for (const canvas of [plot, over]) {
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
      canvas.style.aspectRatio = `${width} / ${height}`;
    }
  }
  view ??= whole();
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = "#fff"; ctx.fillRect(0, 0, width, height);
  ctx.font = '12px "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
  const each = (height - TOP - BOTTOM - GAP * (drawn.length - 1)) / drawn.length, w = width - LEFT - RIGHT;
  const columns = w * data.traces.filter((t) => t.shown).length, heavy = columns > 2e5;
  const fine = print || (columns < 1e5 ? 2 : heavy && quick ? 0.5 : 1) * ratio; // pixels of the sheet for one of the page
  if (heavy && quick) rest = setTimeout(() => draw(), 200);
  const W = Math.round(w * fine), H = Math.round(height * fine);
  const image = new ImageData(W, H), pixels = new Uint32Array(image.data.buffer);
  const xs = new Float64Array(N), at = new Int32Array(N), scale = W / (view[1] - view[0]);
  for (let i = 0; i < N; i++) at[i] = Math.floor(Math.max(-1e9, Math.min(1e9, xs[i] = (XT[i] - view[0]) * scale)));
  const first = rising ? Math.max(0, after(back(view[0])) - 1) : 0, end = rising ? Math.min(N, after(back(view[1])) + 2) : N;
  const xTicks = ticks(view[0], view[1], logX, w / 80), marks = [];
  drawn.forEach((panel, k) => {
    const y = TOP + k * (each + GAP), [low, high] = fit(panel), slope = each / (high - low);
    Object.assign(panel, { y, height: each, low, high });
    const down = (value) => y + each - (value - low) * slope;
    const yTicks = ticks(low, high, panel.log, each / 40), real = panel.log ? [10 ** low, 10 ** high] : [low, high];
    ctx.strokeStyle = "#e2e2de"; ctx.lineWidth = 1; ctx.beginPath();
    for (const [v] of xTicks) { ctx.moveTo(across(v), y); ctx.lineTo(across(v), y + each); }
    for (const [v] of yTicks) { ctx.moveTo(LEFT, down(v)); ctx.lineTo(width - RIGHT, down(v)); }
    ctx.stroke();
    ctx.fillStyle = "#1c1c1c"; ctx.textAlign = "right"; ctx.textBaseline = "middle";
    labels(yTicks, panel.unit, ...real).forEach((text, i) => ctx.fillText(text, LEFT - 6, down(yTicks[i][0])));
    ctx.save(); ctx.translate(14, y + each / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center";
    const unit = axisUnit(yTicks, panel.unit, ...real);
    ctx.fillText(unit ? `${panel.name} (${unit})` : panel.name, 0, 0); ctx.restore();
    const half = Math.max(0.5, (panel.traces.filter((t) => t.shown).length > 8 ? 0.5 : 0.8) * fine);
    for (const t of panel.traces) if (t.shown) {
      const rows = [Math.round(y * fine), Math.round((y + each) * fine)], zero = (y + each + low * slope) * fine;
      const thick = t === hot ? 2.4 * half : half;
      trace(pixels, W, ...rows, xs, at, first, end, bent(t), zero, slope * fine, t.colour, thick);
    }
    data.measures.forEach((m, i) => {
      const t = m.at && byName.get(m.at[0]);
      if (t && t.panel === panel && t.shown) marks.push([px(m.at[1]), down(heightOf(t, m.at[1])), `${i + 1}`, m, y]);
    });
  });
  sheet.width = W; sheet.height = H;
  sheet.getContext("2d").putImageData(image, 0, 0);
  ctx.drawImage(sheet, LEFT, 0, w, height);
  ctx.strokeStyle = "#6a6a66";
  for (const p of drawn) ctx.strokeRect(LEFT + 0.5, Math.round(p.y) + 0.5, w, Math.round(p.height));
  ctx.fillStyle = "#1c1c1c"; ctx.textAlign = "center"; ctx.textBaseline = "top";
  const ends = [back(view[0]), back(view[1])], xUnit = axisUnit(xTicks, data.axis.unit, ...ends);
  labels(xTicks, data.axis.unit, ...ends).forEach((text, i) => {
    ctx.fillText(text, across(xTicks[i][0]), height - BOTTOM + 6);
  });
  ctx.fillText(xUnit ? `${data.axis.name} (${xUnit})` : data.axis.name, LEFT + w / 2, height - 18);
  mark(marks);
  box.dataset.drawn = (performance.now() - start).toFixed(1);
  box.dataset.range = JSON.stringify([back(view[0]), back(view[1])]);
  box.dataset.panels = JSON.stringify(drawn.map((p) => [p.y, p.height, p.low, p.high]));
  overlay();
}
function mark(marks) { // dots numbered as in the table; the name stands beside where there is room
  const taken = [];
  ctx.textBaseline = "middle"; ctx.textAlign = "left";
  for (const [x, y, number, m, top] of marks) {
    if (!(x >= LEFT && x <= width - RIGHT && isFinite(y))) continue;
    ctx.fillStyle = "#000"; ctx.beginPath(); ctx.arc(x, y, 4, 0, 7); ctx.fill();
    const long = `${number}  ${m.name}${marks.length > 4 ? "" : `: ${shown(m.value, m.unit, 4)}`}`;
    for (const text of [long, number]) {
      const wide = ctx.measureText(text).width + 8, left = x + 8 + wide > width - RIGHT ? x - 8 - wide : x + 8;
      const free = (v) => taken.every(([a, b, c]) => left > b || left + wide < a || Math.abs(c - v) > 16);
      const place = [-18, 18, 0, -36, 36].map((d) => y + d).find((v) => v > top + 8 && free(v));
      if (place === undefined) continue;
      taken.push([left, left + wide, place]);
      ctx.fillStyle = "rgba(255,255,255,.85)"; ctx.fillRect(left, place - 8, wide, 16);
      ctx.fillStyle = "#000"; ctx.fillText(text, left + 4, place);
      break;
    }
  }
}
const redraw = () => { pending ||= requestAnimationFrame(() => draw(0, true)); }; // coarse while many traces move

// --- cursors and their readings ---------------------------------------------------------------------------------------
let rubber = null, tip = null;
function overlay() {
  const ratio = over.width / width;
  top2d.setTransform(ratio, 0, 0, ratio, 0, 0);
  top2d.clearRect(0, 0, width, height);
  top2d.font = 'bold 12px "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
  for (const name of ["A", "B"]) {
    const x = px(cursors[name]);
    if (!(x >= LEFT - 1 && x <= width - RIGHT + 1)) continue;
    top2d.strokeStyle = top2d.fillStyle = "#333";
    top2d.setLineDash(name === "A" ? [] : [5, 3]);
    top2d.beginPath(); top2d.moveTo(x, TOP - 4); top2d.lineTo(x, height - BOTTOM); top2d.stroke(); top2d.setLineDash([]);
    top2d.fillRect(x - 9, 2, 18, 16);
    top2d.fillStyle = "#fff"; top2d.textAlign = "center"; top2d.textBaseline = "middle";
    top2d.fillText(name, x, 11);
    for (const t of data.traces) if (t.shown && (t === hot || t.panel.traces.length < 30)) {
      const y = rowOf(t.panel, heightOf(t, cursors[name]));
      if (!(y >= t.panel.y && y <= t.panel.y + t.panel.height)) continue;
      top2d.fillStyle = `rgb(${t.colour})`; top2d.beginPath(); top2d.arc(x, y, 3, 0, 7); top2d.fill();
    }
  }
  if (rubber) { top2d.fillStyle = "rgba(0,84,138,.15)"; top2d.fillRect(...rubber); }
  if (tip) {
    top2d.font = '12px "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
    const wide = top2d.measureText(tip[2]).width + 10;
    const left = Math.min(tip[0] + 10, width - wide - 2), y = Math.max(tip[1] - 22, 2);
    top2d.fillStyle = "#fff"; top2d.strokeStyle = "#6a6a66";
    top2d.fillRect(left, y, wide, 18); top2d.strokeRect(left + 0.5, y + 0.5, wide, 18);
    top2d.fillStyle = "#000"; top2d.textAlign = "left"; top2d.textBaseline = "middle";
    top2d.fillText(tip[2], left + 5, y + 10);
  }
}
function put(cell, value, unit) {
  const text = value === null ? "" : shown(value, unit);
  if (cell.textContent !== text) cell.textContent = text;
  cell.dataset.value = value === null ? "" : String(value);
}
function readings() {
  const { A, B } = cursors, unit = data.axis.unit;
  for (const name of ["A", "B"]) {
    const field = byId(name);
    if (document.activeElement !== field) field.value = shown(cursors[name], unit, 7);
    field.dataset.value = String(cursors[name]);
  }
  put(byId("difference"), B - A, unit);
  byId("rate").textContent = unit === "s" && B !== A ? `1/(B \u2212 A) = ${shown(1 / (B - A), "Hz")}` : "";
  for (const t of data.traces) {
    if (t.row.hidden) continue;
    const a = t.shown ? read(t, A) : null, b = t.shown ? read(t, B) : null;
    [a, b, t.shown ? b - a : null].forEach((v, k) => put(t.cells[k], v, t.unit));
  }
}
function place(name, x) {
  const [a, b] = extent(X) ?? [0, 1];
  if (isNaN(x)) return;
  cursors[name] = Math.min(b, Math.max(a, x)); last = name;
  overlay(); readings();
}

// --- mouse and keys ---------------------------------------------------------------------------------------------------
function inside(e) {
  const r = over.getBoundingClientRect(), f = width / r.width;
  return [(e.clientX - r.left) * f, (e.clientY - r.top) * f];
}
const panelAt = (y) => { const all = seen(); return all.find((p) => y <= p.y + p.height + GAP / 2) ?? all[all.length - 1]; };
const cursorAt = (x) => ["A", "B"].find((name) => Math.abs(px(cursors[name]) - x) < 6);
function zoomX(factor, p = (LEFT + width - RIGHT) / 2) {
  const [a, b] = view, [low, high] = whole(), middle = a + ((p - LEFT) / (width - LEFT - RIGHT)) * (b - a);
  const next = [Math.max(low, middle + (a - middle) * factor), Math.min(high, middle + (b - middle) * factor)];
  if (next[1] - next[0] > 1e-12 * Math.max(Math.abs(next[0]), Math.abs(next[1]), high - low)) view = next;
  redraw();
}
function panX(shift) {
  const [low, high] = whole(), d = Math.max(low - view[0], Math.min(high - view[1], shift));
  view = [view[0] + d, view[1] + d]; redraw();
}
function reset() { view = null; for (const p of panels) p.range = null; redraw(); }
let press = null;
over.addEventListener("pointerdown", (e) => {
  if (e.button) return;
  const [x, y] = inside(e);
  over.setPointerCapture(e.pointerId);
  press = { x, y, view, cursor: cursorAt(x), panel: panelAt(y), pan: e.altKey || y > height - BOTTOM };
  press.range = [press.panel.low, press.panel.high];
});
over.addEventListener("pointermove", (e) => {
  const [x, y] = inside(e);
  tip = null;
  if (press) {
    if (press.cursor) return place(press.cursor, atPx(x));
    if (press.pan) {
      const p = press.panel, d = ((y - press.y) / p.height) * (press.range[1] - press.range[0]);
      view = press.view; panX(-((x - press.x) / (width - LEFT - RIGHT)) * (view[1] - view[0]));
      if (e.altKey) p.range = [press.range[0] + d, press.range[1] + d];
      return;
    }
    const tall = Math.abs(y - press.y) > 20, wide = Math.abs(x - press.x) > 6 || !tall, p = press.panel;
    const left = wide ? Math.max(LEFT, Math.min(x, press.x)) : LEFT;
    const right = wide ? Math.min(width - RIGHT, Math.max(x, press.x)) : width - RIGHT;
    const upper = tall ? Math.max(p.y, Math.min(y, press.y)) : p.y;
    const lower = tall ? Math.min(p.y + p.height, Math.max(y, press.y)) : p.y + p.height;
    rubber = [left, upper, right - left, lower - upper];
    press.box = { wide, tall };
  } else {
    over.style.cursor = cursorAt(x) ? "ew-resize" : "crosshair";
    nearest(x, y);
  }
  overlay();
});
over.addEventListener("pointerup", (e) => {
  if (!press) return;
  const [x, y] = inside(e), { cursor, pan, panel, box } = press, area = rubber;
  const moved = Math.hypot(x - press.x, y - press.y) > 4;
  press = rubber = null;
  if (!moved) {
    if (!cursor && x >= LEFT && x <= width - RIGHT) place(e.shiftKey ? "B" : "A", atPx(x));
    return overlay();
  }
  if (cursor || pan || !area) return overlay();
  if (box.tall) {
    const value = (p) => panel.high - ((p - panel.y) / panel.height) * (panel.high - panel.low);
    panel.range = [value(area[1] + area[3]), value(area[1])];
  }
  if (box.wide && area[2] > 4) view = [forth(atPx(area[0])), forth(atPx(area[0] + area[2]))];
  redraw();
});
over.addEventListener("pointerleave", () => { if (!press && (tip || hot)) { tip = null; overlay(); } });
over.addEventListener("dblclick", reset);
over.addEventListener("wheel", (e) => {
  e.preventDefault();
  const [x, y] = inside(e), factor = 1.0015 ** (e.deltaY || e.deltaX);
  if (!e.shiftKey && x >= LEFT) return zoomX(factor, x);
  const p = panelAt(y), middle = p.high - ((y - p.y) / p.height) * (p.high - p.low);
  p.range = [middle + (p.low - middle) * factor, middle + (p.high - middle) * factor];
  redraw();
}, { passive: false });
function nearest(x, y) { // names the trace under the pointer
  const p = panelAt(y), at = atPx(x);
  let best = 10, found = null;
  if (x < LEFT || x > width - RIGHT) return;
  for (const t of p.traces) if (t.shown) {
    const d = Math.abs(rowOf(p, heightOf(t, at)) - y);
    if (d < best) { best = d; found = t; }
  }
  if (found) tip = [x, y, `${found.name}  ${shown(read(found, at), found.unit, 5)} at ${shown(at, data.axis.unit, 5)}`];
}
document.addEventListener("keydown", (e) => {
  if (e.target instanceof HTMLInputElement && e.target.type !== "checkbox") return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
  if (step && N) { // the cursor moved last goes to the next point
    const i = after(cursors[last]), there = X[i] === cursors[last] ? i + step : step > 0 ? i : i - 1;
    place(last, X[Math.min(N - 1, Math.max(0, there))]);
  } else if (e.key === "+") zoomX(0.5);
  else if (e.key === "-") zoomX(2);
  else if (e.key === "0") reset();
  else return;
  e.preventDefault();
});
for (const name of ["A", "B"]) {
  byId(name).addEventListener("change", (e) => { e.target.blur(); place(name, entered(e.target.value)); readings(); });
}

// --- list of traces ---------------------------------------------------------------------------------------------------
function make(tag, parent, text = "") {
  const e = document.createElement(tag);
  e.textContent = text;
  parent.append(e);
  return e;
}
const body = byId("traces");
function toggle(t, on) { t.shown = t.box.checked = on; t.row.classList.toggle("off", !on); }
const changed = () => { redraw(); readings(); };
for (const t of data.traces) {
  t.row = make("tr", body);
  const label = make("label", make("td", t.row));
  t.box = make("input", label); t.box.type = "checkbox"; t.box.checked = t.shown;
  const swatch = make("i", label); swatch.style.background = `rgb(${t.colour})`;
  make("span", label, t.name); label.title = t.name;
  t.cells = [0, 1, 2].map(() => make("td", t.row));
  t.row.dataset.name = t.name; t.row.classList.toggle("off", !t.shown);
  t.box.addEventListener("change", () => { toggle(t, t.box.checked); changed(); });
  t.row.addEventListener("mouseenter", () => { hot = t; if (t.shown) redraw(); });
  t.row.addEventListener("mouseleave", () => { hot = null; if (t.shown) redraw(); });
}
byId("search").addEventListener("input", (e) => {
  const words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const t of data.traces) t.row.hidden = !words.every((word) => t.name.toLowerCase().includes(word));
  byId("found").textContent = `${data.traces.filter((t) => !t.row.hidden).length} of ${data.traces.length}`;
  readings();
});
for (const [id, on, others] of [["show", true], ["hide", false], ["only", true, false]]) {
  byId(id).addEventListener("click", () => {
    for (const t of data.traces) if (!t.row.hidden) toggle(t, on); else if (others === false) toggle(t, false);
    changed();
  });
}
byId("in").addEventListener("click", () => zoomX(0.5));
byId("out").addEventListener("click", () => zoomX(2));
byId("all").addEventListener("click", reset);
function logBox(text, on, change) {
  const label = make("label", byId("logs")), box = make("input", label);
  box.type = "checkbox"; box.checked = on; make("span", label, `log ${text}`);
  box.addEventListener("change", () => { change(box.checked); reset(); });
}
logBox(data.axis.name, logX, (on) => { logX = on; XT = bend(X, on); });
for (const p of panels) logBox(p.name, p.log, (on) => { p.log = on; for (const t of p.traces) t.bent = t.extent = null; });

const measures = byId("measures");
data.measures.forEach((m, i) => {
  const row = make("tr", measures);
  make("td", row, `${i + 1}`); make("td", row, m.name); make("td", row, shown(m.value, m.unit));
  const where = make("td", row);
  if (m.at) {
    const button = make("button", where, `${m.at[0]} at ${shown(m.at[1], data.axis.unit, 5)}`);
    button.addEventListener("click", () => {
      const t = byName.get(m.at[0]);
      if (t) toggle(t, true);
      place("A", m.at[1]);
      changed();
    });
  }
});
byId("measured").hidden = !data.measures.length;
byId("found").textContent = `${data.traces.length} of ${data.traces.length}`;

window.addEventListener("resize", redraw);
window.addEventListener("beforeprint", () => draw(3));
window.addEventListener("afterprint", () => draw());
draw();
const [from, to] = view;
place("B", back(from + (2 / 3) * (to - from)));
place("A", back(from + (to - from) / 3));
})();
