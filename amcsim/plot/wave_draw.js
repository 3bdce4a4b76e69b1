"use strict";
// What the page of traces draws and writes, as functions of numbers alone.
const PLAIN = ["", "dB", "deg", "bit", "%", "K", "C"]; // units that take no prefix

function decode(text) {
  if (Uint8Array.fromBase64) return new Float64Array(Uint8Array.fromBase64(text).buffer);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Float64Array(bytes.buffer);
}
const named = (unit) => unit.replace("ohm", "\u03a9").replace("sqrt(Hz)", "\u221aHz");
function prefix(size) { // the power of 1000 and its letter that bring `size` into 1 to 1000
  const k = size > 0 && isFinite(size) ? Math.min(3, Math.max(-5, Math.floor(Math.log10(size) / 3 + 1e-9))) : 0;
  return [10 ** (3 * k), ["f", "p", "n", "\u00b5", "m", "", "k", "M", "G"][k + 5]];
}
function shown(value, unit, digits = 6) { // for people
  if (!isFinite(value)) return value === Infinity ? "\u221e" : "\u2013";
  const [scale, letter] = PLAIN.includes(unit) ? [1, ""] : prefix(Math.abs(value)), size = Math.abs(value / scale);
  const number = value / scale, tiny = size < 1e-3 && size > 0;
  const text = tiny ? number.toExponential(digits - 1).replace(/\.?0+e/, "e") : String(Number(number.toPrecision(digits)));
  return `${text.replace("-", "\u2212")} ${letter}${named(unit)}`.trim();
}
function entered(text) { // a number that a person typed, such as 2.5u
  const found = /^\s*([-+\u2212]?[\d.]+(?:[eE][-+]?\d+)?)\s*([fpnu\u00b5mkMG]?)/.exec(text);
  if (!found) return NaN;
  const power = { f: -15, p: -12, n: -9, u: -6, "\u00b5": -6, m: -3, k: 3, M: 6, G: 9 }[found[2]] ?? 0;
  const [digits, own] = found[1].replace("\u2212", "-").toLowerCase().split("e");
  return Number(`${digits}e${Number(own ?? 0) + power}`);
}

// --- axes -------------------------------------------------------------------------------------------------------------
function extent(v) {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < v.length; i++) {
    if (v[i] < low && v[i] > -Infinity) low = v[i];
    if (v[i] > high && v[i] < Infinity) high = v[i];
  }
  return low <= high ? [low, high] : null;
}
const bend = (values, log) => (log ? values.map((v) => (v > 0 ? Math.log10(v) : NaN)) : values);
function ticks(low, high, log, wanted) { // about so many [place, value], in bent coordinates; grid lines alone are NaN
  const found = [];
  if (log && high - low > 1) {
    const step = Math.ceil((high - low) / wanted), labelled = high - low < wanted / 2 ? [1, 2, 5] : [1];
    for (let k = Math.floor(low); k <= high; k++) {
      for (let m = 1; m < (step > 1 ? 2 : 10); m++) {
        const at = k + Math.log10(m);
        if (at >= low && at <= high) found.push([at, k % step === 0 && labelled.includes(m) ? m * 10 ** k : NaN]);
      }
    }
    return found;
  }
  const [a, b] = log ? [10 ** low, 10 ** high] : [low, high], power = 10 ** Math.floor(Math.log10((b - a) / wanted));
  const step = power * ([1, 2, 5].find((m) => m * power >= (b - a) / wanted) ?? 10);
  for (let k = Math.ceil(a / step); k * step <= b && found.length < 50; k++) {
    found.push([log ? Math.log10(k * step) : k * step, k * step]);
  }
  found.step = step;
  return found;
}
function labels(found, unit, low, high) {
  const [scale] = found.step && PLAIN.includes(unit) ? [1] : prefix(Math.max(Math.abs(low), Math.abs(high)));
  const places = Math.min(12, Math.max(0, -Math.floor(Math.log10(found.step / scale) + 1e-9)));
  const short = (v) => {
    const [power, letter] = prefix(Math.abs(v));
    if (isNaN(v)) return "";
    return PLAIN.includes(unit) ? shown(v, "", 1) : `${+(v / power).toPrecision(3)}${letter}`;
  };
  const text = (v) => (found.step ? (v / scale).toFixed(places) : short(v));
  return found.map(([, v]) => text(v).replace(/^-0(\.0*)?$/, "0").replace("-", "\u2212"));
}
function axisUnit(found, unit, low, high) {
  const letter = !found.step || PLAIN.includes(unit) ? "" : prefix(Math.max(Math.abs(low), Math.abs(high)))[1];
  return letter + named(unit);
}

// --- traces -----------------------------------------------------------------------------------------------------------
// A trace as spans of columns, antialiased up and down: each column is filled from its lowest to its highest value, so
// that no peak is lost at any zoom. Canvas paths took 0.35 to 1.6 s for 500 traces of 5,000 points, this takes 40 ms.
function trace(pixels, W, y0, y1, xs, columns, first, end, v, offset, slope, colour, half) {
  const rgb = (colour[2] << 16) | (colour[1] << 8) | colour[0], solid = (0xff000000 | rgb) >>> 0;
  const thick = Math.max(1, Math.round(2 * half)); // of a steep line, in columns
  function dim(at, part) {
    const alpha = (255 * part) | 0;
    if (alpha > pixels[at] >>> 24) pixels[at] = ((alpha << 24) | rgb) >>> 0;
  }
  function span(column, a, b) {
    const tall = a < b ? b - a : a - b, extra = half * Math.sqrt(1 + Math.min(3, tall * tall)); // as thick when it slopes
    const low = Math.max(y0, (a < b ? a : b) - extra), high = Math.min(y1 - 1e-6, (a < b ? b : a) + extra);
    if (!(low < high)) return;
    const from = Math.floor(low), to = Math.floor(high);
    for (let k = tall > 2 ? thick : 1; k > 0; k--, column++) {
      if (column < 0 || column >= W) continue;
      let at = from * W + column;
      if (from === to) { dim(at, high - low); continue; }
      dim(at, from + 1 - low);
      for (let row = from + 1; row < to; row++) pixels[at += W] = solid;
      dim(at + W, high - to);
    }
  }
  let open = false, column = 0, low = 0, high = 0, ya = 0;
  for (let i = first; i < end; i++) {
    const y = offset - slope * v[i], c = columns[i];
    if (!(y - y + xs[i] - xs[i] === 0)) { if (open) span(column, low, high); open = false; continue; } // a gap
    if (open && c === column) { if (y < low) low = y; if (y > high) high = y; }
    else if (open) {
      const x = xs[i], xa = xs[i - 1], tilt = (y - ya) / (x - xa), way = c > column ? 1 : -1;
      let edge = ya + tilt * ((way > 0 ? column + 1 : column) - xa);
      span(column, Math.min(low, edge), Math.max(high, edge));
      const stop = way > 0 ? Math.min(c, W) : Math.max(c, -1); // what lies beyond the screen is not walked
      for (let k = way > 0 ? Math.max(column + 1, 0) : Math.min(column - 1, W - 1); way * (stop - k) > 0; k += way) {
        span(k, ya + tilt * (k - xa), ya + tilt * (k + 1 - xa));
      }
      edge = ya + tilt * ((way > 0 ? c : c + 1) - xa);
      low = Math.min(edge, y); high = Math.max(edge, y);
    } else { open = true; low = high = y; }
    column = c; ya = y;
  }
  if (open) span(column, low, high);
}
