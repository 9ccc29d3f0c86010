// Pictures as bytes {w, h, c, data}, data[(y * w + x) * c + channel]; part of the worker.

function blank(w, h, c) {
  return { w, h, c, data: new Uint8Array(w * h * c) };
}

function cut(x, left, top, w, h) {
  if (!left && !top && w === x.w && h === x.h) return x;
  const out = blank(w, h, x.c);
  for (let y = 0; y < h; y++) {
    const start = ((top + y) * x.w + left) * x.c;
    out.data.set(x.data.subarray(start, start + w * x.c), y * w * x.c);
  }
  return out;
}

function crop(x, { w, h }) {
  return cut(x, 0, 0, w, h);
}

function pad(x, m) {  // the last row and column repeated until both sides are multiples of m
  const w = Math.ceil(x.w / m) * m, h = Math.ceil(x.h / m) * m;
  if (w === x.w && h === x.h) return x;
  const out = blank(w, h, x.c);
  for (let y = 0; y < h; y++) {
    const start = Math.min(y, x.h - 1) * x.w * x.c, row = x.data.subarray(start, start + x.w * x.c);
    out.data.set(row, y * w * x.c);
    for (let i = x.w; i < w; i++) out.data.set(row.subarray(-x.c), (y * w + i) * x.c);
  }
  return out;
}

function toY(r, g, b) {  // BT.601, limited range
  return (65.481 * r + 128.553 * g + 24.966 * b) / 255 + 16;
}

function faded({ w, h, data }) {  // without its colours: BT.601 in full range, as three equal channels
  const out = blank(w, h, 3);
  for (let i = 0; i < 3 * w * h; i += 3) {
    out.data.fill(Math.round(((toY(data[i], data[i + 1], data[i + 2]) - 16) * 255) / 219), i, i + 3);
  }
  return out;
}

function brightness({ w, h, data }) {  // Y as a grey picture
  const out = blank(w, h, 1);
  for (let i = 0; i < w * h; i++) out.data[i] = Math.round(toY(data[3 * i], data[3 * i + 1], data[3 * i + 2]));
  return out;
}

function coloured({ w, h, data }) {  // a grey picture as three equal channels
  const out = blank(w, h, 3);
  for (let i = 0; i < 3 * w * h; i++) out.data[i] = data[Math.floor(i / 3)];
  return out;
}

function grey({ w, h, data }) {
  const out = blank(w, h, 1);
  for (let i = 0; i < w * h; i++) {
    out.data[i] = data[3 * i];
    if (data[3 * i] !== data[3 * i + 1] || data[3 * i] !== data[3 * i + 2]) {
      throw new Error("has colours already: this way takes the grey picture that hides them");
    }
  }
  return out;
}

function resized(x, w, h) {
  return { w, h, c: 3, data: resize(x, w, h) };
}

function likeness(a, b) {  // PSNR of all codes, in dB
  let total = 0;
  for (let i = 0; i < a.data.length; i++) total += (a.data[i] - b.data[i]) ** 2;
  return 10 * Math.log10((255 ** 2 * a.data.length) / total);
}

function psnr(a, b) {  // of RGB and of Y, in dB
  const n = a.w * a.h;
  let rgb = 0, y = 0;
  for (let i = 0; i < 3 * n; i += 3) {
    const r = a.data[i] - b.data[i], g = a.data[i + 1] - b.data[i + 1], blue = a.data[i + 2] - b.data[i + 2];
    const bright = toY(r, g, blue) - 16;
    rgb += r * r + g * g + blue * blue;
    y += bright * bright;
  }
  return { rgb: 10 * Math.log10((255 ** 2 * 3 * n) / rgb), y: 10 * Math.log10((255 ** 2 * n) / y) };
}

// Bicubic, antialiased, a = -0.5: the benchmarks' and the networks' (tadlib/resize.py).
function cubic(t) {
  t = Math.abs(t);
  return t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

function taps(from, to) {  // for each output pixel: the first input pixel and the weights
  const scale = from / to, wide = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * wide + 0.5));
    const last = Math.min(from, Math.trunc(centre + 2 * wide + 0.5));
    const weights = Array.from({ length: last - first }, (_, j) => cubic((first + j - centre + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b);
    return [first, Float32Array.from(weights, v => v / sum)];
  });
}

function code(value) {
  return Math.min(255, Math.max(0, Math.round(value)));
}

function resize(x, w, h, out = new Uint8Array(3 * w * h), put = code) {  // three channels -> `out`, as `put` makes them
  const columns = taps(x.w, w), rows = taps(x.h, h), kept = new Map();
  const narrowed = y => {  // row y of x with w columns
    const line = new Float32Array(3 * w), start = 3 * y * x.w;
    for (let i = 0; i < w; i++) {
      const [first, weights] = columns[i];
      for (let j = 0, at = start + 3 * first; j < weights.length; j++, at += 3) {
        for (let k = 0; k < 3; k++) line[3 * i + k] += weights[j] * x.data[at + k];
      }
    }
    return line;
  };
  for (let y = 0; y < h; y++) {  // a row at a time, so that no large picture of floats is needed
    const [first, weights] = rows[y], sum = new Float32Array(3 * w);
    for (const old of kept.keys()) if (old < first) kept.delete(old);
    for (let j = 0; j < weights.length; j++) {
      if (!kept.has(first + j)) kept.set(first + j, narrowed(first + j));
      const line = kept.get(first + j), weight = weights[j];
      for (let i = 0; i < 3 * w; i++) sum[i] += weight * line[i];
    }
    for (let i = 0; i < 3 * w; i++) out[3 * y * w + i] = put(sum[i]);
  }
  return out;
}
