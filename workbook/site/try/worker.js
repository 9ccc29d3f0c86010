// What computes, away from the page; pixels.js, descent.js and png.js lie before it in one script.
const TILE = 768;  // large pixels a side: bounds the memory, and the bar moves
const LIMIT = 24.6e6;  // pixels of the large picture: what cameras call 24 megapixels
const PREVIEW = 1600;  // pixels of the longer side of what the page itself holds
const engine = { files: {}, sessions: {} };
let shown = {};  // the pictures of the last job, in full size

self.onmessage = async ({ data }) => {
  Object.assign(engine.files, data.files);
  try {
    if (data.job) await work(data);
    if (data.crop) crops(data.crop);
    if (data.save) await save(data.save);
  } catch (error) {
    self.postMessage({ error: error.message || String(error) });
  }
};

// ------------------------------------------------------------------------------------------------------ the engine

async function file(name) {  // gzip in base64 -> bytes
  const text = atob(engine.files[name]), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return through(bytes, new DecompressionStream("gzip"));
}

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

async function runtime() {
  if (!engine.ort) {
    const address = URL.createObjectURL(new Blob([await file("ort")], { type: "text/javascript" }));
    engine.ort = await import(address);
    engine.ort.env.wasm.numThreads = 1;  // more need a server's headers
    engine.ort.env.wasm.wasmBinary = (await file("wasm")).buffer;
  }
  return engine.ort;
}

async function session(name) {
  const ort = await runtime();
  return engine.sessions[name] ??= await ort.InferenceSession.create(await file(name));
}

async function network(name) {  // a picture -> a picture, in one piece (tadlib/tool/graph.py)
  const ort = await runtime(), net = await session(name);
  return async ({ w, h, c, data }) => {
    const out = await net.run({ [net.inputNames[0]]: new ort.Tensor("uint8", data, [1, h, w, c]) });
    const { dims, data: bytes } = out[net.outputNames[0]];
    return { h: dims[1], w: dims[2], c: dims[3], data: bytes };
  };
}

async function slopes(name) {  // of the squared error (tadlib/tool/graph.py): floats, what they should become, its corner
  const ort = await runtime(), net = await session(`${name}_refine`);
  return async (small, image, corner, backward) => {
    const found = await net.run({
      small: new ort.Tensor("float32", Float32Array.from(small.data, code => code / 255), [1, small.h, small.w, small.c]),
      image: new ort.Tensor("uint8", image.data, [1, image.h, image.w, 3]),
      corner: new ort.Tensor("int64", BigInt64Array.from(corner, BigInt), [2]),
    }, backward ? ["error", "gradient"] : ["error"]);
    return { error: found.error.data[0], gradient: found.gradient?.data };
  };
}

// ---------------------------------------------------------------------------------------------------- the two ways

async function work({ job, blob, model, models, steps }) {
  shown = {};
  self.postMessage({ say: "reading the picture" });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const image = await decoded(blob), origin = originOf(bytes, image);
  const enlarge = job === "enlarge" || origin !== null;
  if (enlarge && origin && !models[origin.model]) throw new Error(`made by ${origin.model}, which this page lacks`);
  const name = enlarge && origin ? origin.model : model, facts = models[name];
  const result = enlarge ? await up(image, name, facts, origin) : await around(image, name, facts, steps);
  shown = result.pictures;
  const previews = {};
  for (const [key, picture] of Object.entries(shown)) previews[key] = await preview(picture);
  const other = Boolean(origin?.weights && origin.weights !== facts.weights);  // the net was trained on since
  self.postMessage({ done: result.of, enlarged: enlarge, other, model: name, previews }, Object.values(previews));
}

async function around(image, name, facts, steps) {  // down and up again, beside the ordinary way
  if (image.w * image.h > LIMIT) throw new Error("more than 24 megapixels");
  const s = facts.scale, padded = pad(image, s), less = { w: padded.w / s, h: padded.h / s };
  const passes = steps && (steps + 1) * [...parts(less, facts.up)].length;
  const step = progress(count(padded, facts.down, TILE) + passes + count(less, facts.up, TILE / s));
  let small = await tiled(await network(`${name}_down`), padded, TILE, facts.down, 1, s, step("shrinking"));
  if (steps) small = await refined(padded, small, name, facts, steps, step("refining"));
  const large = crop(await tiled(await network(`${name}_up`), small, TILE / s, facts.up, s, 1, step("enlarging")), image);
  const ordinary = s > 1 ? resized(padded, less.w, less.h) : brightness(image);
  const before = s > 1 ? crop(resized(ordinary, padded.w, padded.h), image) : faded(image);
  const pictures = { original: image, before, small, result: large };
  const quality = { before: psnr(image, before), result: psnr(image, large) };
  return { pictures, of: { w: image.w, h: image.h, psnr: quality, likeness: likeness(small, ordinary), steps } };
}

async function up(image, name, facts, origin) {
  const s = facts.scale, known = origin?.size && origin.scale === s;
  const size = known ? { w: origin.size[0], h: origin.size[1] } : { w: image.w * s, h: image.h * s };
  if (size.w * size.h > LIMIT) throw new Error("would become more than 24 megapixels");
  const small = facts.task === "colour" ? grey(image) : image;
  const step = progress(count(small, facts.up, TILE / s))("enlarging");
  const large = crop(await tiled(await network(`${name}_up`), small, TILE / s, facts.up, s, 1, step), size);
  const before = s > 1 ? crop(resized(small, small.w * s, small.h * s), size) : coloured(small);
  return { pictures: { before, small, result: large }, of: size };
}

function progress(tiles) {
  let done = 0;
  return say => () => self.postMessage({ say, bar: [++done, tiles] });
}

// ----------------------------------------------------------------------------------------------------------- tiles

function plan({ w, h }, { reach, grid }, size) {
  const tile = Math.max(grid, Math.floor(size / grid) * grid), halo = Math.ceil(reach / grid) * grid;
  return h <= tile + 2 * halo && w <= tile + 2 * halo ? { tile: Math.max(w, h), halo: 0 } : { tile, halo };
}

function count(x, tiling, size) {
  const { tile } = plan(x, tiling, size);
  return Math.ceil(x.w / tile) * Math.ceil(x.h / tile);
}

// The same as net(x) in one piece: each tile is cut with a halo of all that it would have seen (tadlib/tool/codec.py).
async function tiled(net, x, size, tiling, up, down, step) {
  const { tile, halo } = plan(x, tiling, size);
  let out = null;
  for (let top = 0; top < x.h; top += tile) {
    for (let left = 0; left < x.w; left += tile) {
      const y0 = Math.max(0, top - halo), x0 = Math.max(0, left - halo);
      const y1 = Math.min(x.h, top + tile), x1 = Math.min(x.w, left + tile);
      const piece = await net(cut(x, x0, y0, Math.min(x.w, x1 + halo) - x0, Math.min(x.h, y1 + halo) - y0));
      out ??= blank((x.w * up) / down, (x.h * up) / down, piece.c);
      const n = ((x1 - left) * up) / down, ox = (left * up) / down, px = ((left - x0) * up) / down;
      for (let y = (top * up) / down; y < (y1 * up) / down; y++) {
        const start = ((y - (y0 * up) / down) * piece.w + px) * piece.c;
        out.data.set(piece.data.subarray(start, start + n * piece.c), (y * out.w + ox) * piece.c);
      }
      step();
    }
  }
  return out;
}

// ----------------------------------------------------------------------------------------- pictures of the browser

async function decoded(blob) {  // as tadlib/files.py reads: rotated by EXIF, over white, colour profiles not applied
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    throw new Error("cannot be read: not a picture, or none that this browser knows");
  }
  const { width: w, height: h } = bitmap;
  if (w * h > LIMIT) throw new Error("more than 24 megapixels");
  const context = new OffscreenCanvas(w, h).getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, w, h);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, w, h).data, out = blank(w, h, 3);
  for (let i = 0; i < w * h; i++) for (let k = 0; k < 3; k++) out.data[3 * i + k] = rgba[4 * i + k];
  return out;
}

function imageData({ w, h, c, data }) {
  const out = new ImageData(w, h), step = c === 3 ? 1 : 0;
  for (let i = 0; i < w * h; i++) {
    for (let k = 0; k < 3; k++) out.data[4 * i + k] = data[c * i + k * step];
    out.data[4 * i + 3] = 255;
  }
  return out;
}

function preview(picture) {
  const by = Math.min(1, PREVIEW / Math.max(picture.w, picture.h));
  const size = by === 1 ? {} : {
    resizeWidth: Math.max(1, Math.round(picture.w * by)), resizeHeight: Math.max(1, Math.round(picture.h * by)),
    resizeQuality: "high",
  };
  return createImageBitmap(imageData(picture), size);
}

function crops({ x, y, n }) {  // the loupe: n large pixels around a place (x, y in [0, 1]), of every large picture
  const { w, h } = shown.result, cuts = {};
  const [cw, ch] = [Math.min(n, w), Math.min(n, h)];
  const left = Math.min(w - cw, Math.max(0, Math.round(x * w - cw / 2)));
  const top = Math.min(h - ch, Math.max(0, Math.round(y * h - ch / 2)));
  for (const key of ["original", "before", "result"]) {
    if (shown[key]) cuts[key] = imageData(cut(shown[key], left, top, cw, ch));
  }
  self.postMessage({ crops: cuts, place: { left: left / w, top: top / h, width: cw / w, height: ch / h } });
}

async function save({ key, facts, stem }) {
  const bytes = await png(shown[key], key === "small" ? facts : null);
  self.postMessage({ saved: key, stem, blob: new Blob([bytes], { type: "image/png" }) });
}
