// PNG files, part of the worker. Written here, byte by byte: what a canvas writes need not be the codes that it got.
const CHUNK = "tad";

async function png({ w, h, c, data }, text) {
  const row = w * c, raw = new Uint8Array((row + 1) * h);
  let above = new Uint8Array(row);
  for (let y = 0; y < h; y++) {
    const line = data.subarray(y * row, (y + 1) * row);
    const start = y * (row + 1);
    raw[start] = 4;  // the filter of all rows: Paeth's
    for (let i = 0; i < row; i++) {
      const a = i < c ? 0 : line[i - c], b = above[i], d = i < c ? 0 : above[i - c];
      const [pa, pb, pd] = [Math.abs(b - d), Math.abs(a - d), Math.abs(a + b - 2 * d)];
      raw[start + 1 + i] = line[i] - (pa <= pb && pa <= pd ? a : pb <= pd ? b : d);
    }
    above = line;
  }
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, w);
  view.setUint32(4, h);
  header.set([8, c === 3 ? 2 : 0], 8);
  const chunks = [chunk("IHDR", header)];
  if (text) chunks.push(chunk("tEXt", new TextEncoder().encode(`${CHUNK}\0${text}`)));
  chunks.push(chunk("IDAT", await through(raw, new CompressionStream("deflate"))), chunk("IEND", new Uint8Array(0)));
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  return new Uint8Array(await new Blob([signature, ...chunks]).arrayBuffer());
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(kind, content) {
  const out = new Uint8Array(content.length + 12), view = new DataView(out.buffer);
  view.setUint32(0, content.length);
  out.set(new TextEncoder().encode(kind), 4);
  out.set(content, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < out.length - 4; i++) crc = CRC[(crc ^ out[i]) & 255] ^ (crc >>> 8);
  view.setUint32(out.length - 4, ~crc >>> 0);
  return out;
}

function originOf(bytes, image) {  // what the text chunk says (tadlib/tool/pictures.py), or null
  const view = new DataView(bytes.buffer), latin = new TextDecoder("latin1");
  if (bytes.length < 8 || latin.decode(bytes.subarray(1, 4)) !== "PNG") return null;
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at), kind = latin.decode(bytes.subarray(at + 4, at + 8));
    const content = kind === "tEXt" ? latin.decode(bytes.subarray(at + 8, at + 8 + length)) : "";
    if (content.startsWith(`${CHUNK}\0`)) {
      try {
        const { model, scale, size, weights } = JSON.parse(content.slice(CHUNK.length + 1));
        if (!(scale > 0)) return null;
        const fits = Math.ceil(size[0] / scale) === image.w && Math.ceil(size[1] / scale) === image.h;
        const made = /^[0-9a-f]{8}$/.test(weights) ? weights : null;  // else it is no digest
        return { model: String(model), scale, weights: made, size: fits ? size : null };  // null: cropped or resized since
      } catch {
        return null;
      }
    }
    at += length + 12;
  }
  return null;
}
