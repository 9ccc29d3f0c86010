// A better small image for the decoder that there is: tadlib/tool/descent.py and onnx_backend.py in the page; part of
// the worker. What stands there of why is not said again here.
const SIDE = 192, FIRST = 1 / 255, LAST = 0.7, LONGER = 4;

async function refined(image, small, name, facts, steps, step) {  // image: a multiple of the scale, as small * scale
  const slope = await slopes(name), s = facts.scale, guide = guidance(image, small, facts);
  const values = Float32Array.from(small.data, code => code / 255), n = values.length;
  const radius = Math.sqrt(sum(n, i => (values[i] - guide[i]) ** 2));

  async function loss(z, backward) {
    const codes = { ...small, data: rounded(z) }, share = backward && new Float32Array(n);
    let error = 0;
    for (const { x0, y0, x1, y1, left, top, right, bottom } of parts(small, facts.up)) {
      const own = cut(image, x0 * s, y0 * s, (x1 - x0) * s, (y1 - y0) * s);
      const seen = cut(codes, left, top, right - left, bottom - top);
      const found = await slope(seen, own, [(y0 - top) * s, (x0 - left) * s], backward);
      error += found.error;
      if (backward) {
        const row = seen.w * small.c;
        for (let y = 0; y < seen.h; y++) {
          const to = ((top + y) * small.w + left) * small.c;
          for (let i = 0; i < row; i++) share[to + i] += found.gradient[y * row + i];
        }
      }
      step();
    }
    const factor = n / image.data.length;
    if (backward) for (let i = 0; i < n; i++) share[i] = z[i] >= 0 && z[i] <= 1 ? share[i] * factor : 0;
    return [error / image.data.length, share];
  }

  let z = values, best = z, least = Infinity, before = null, length = 0;
  for (let at = 0; at <= steps; at++) {
    const [error, gradient] = await loss(z, at < steps);
    if (error < least) [best, least] = [z, error];
    if (at === steps) break;
    if (before) {
      const [old, bent] = before;
      const curvature = sum(n, i => (z[i] - old[i]) * (gradient[i] - bent[i]));
      if (curvature > 0) length = Math.min(sum(n, i => (z[i] - old[i]) ** 2) / curvature, LONGER * length);
    } else {
      length = FIRST / Math.max(Math.sqrt(sum(n, i => gradient[i] ** 2) / n), 1e-12);
    }
    before = [z, gradient];
    const by = (at === steps - 1 ? LAST : 1) * length;
    const away = Float32Array.from(z, (value, i) => value - by * gradient[i] - guide[i]);
    const back = Math.min(1, radius / Math.max(Math.sqrt(sum(n, i => away[i] ** 2)), 1e-12));
    z = away.map((value, i) => guide[i] + value * back);
  }
  return { ...small, data: rounded(best) };
}

function sum(n, term) {
  let total = 0;
  for (let i = 0; i < n; i++) total += term(i);
  return total;
}

function rounded(values) {  // floats in [0, 1], or beyond -> codes
  return Uint8Array.from(values, value => Math.round(Math.min(1, Math.max(0, value)) * 255));
}

function guidance(image, { w, h }, { task }) {  // what the small image should resemble, as floats
  if (task !== "colour") return resize(image, w, h, new Float32Array(3 * w * h), v => Math.min(1, Math.max(0, v / 255)));
  const { data } = image;
  return Float32Array.from({ length: w * h }, (_, i) => toY(data[3 * i], data[3 * i + 1], data[3 * i + 2]) / 255);
}

function* parts({ w, h }, { reach, grid }) {  // whose results are counted, each with what it sees
  const side = SIDE * grid, halo = Math.ceil(reach / grid) * grid;
  for (let y0 = 0; y0 < h; y0 += side) {
    for (let x0 = 0; x0 < w; x0 += side) {
      const x1 = Math.min(w, x0 + side), y1 = Math.min(h, y0 + side);
      yield { x0, y0, x1, y1, left: Math.max(0, x0 - halo), top: Math.max(0, y0 - halo),
              right: Math.min(w, x1 + halo), bottom: Math.min(h, y1 + halo) };
    }
  }
}
