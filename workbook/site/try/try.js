"use strict";
// The page's own part: what is chosen goes to the worker, what comes back is shown. The page holds no large picture.
const $ = id => document.getElementById(id);
const MODELS = JSON.parse($("models").textContent);
const LOUPE = 48;  // pixels a side
const NAMES = { original: "original", small: "small image", result: "task-aware" };
const state = { worker: null, sent: new Set(), busy: false, stem: "picture", from: null, spot: null, looking: false };

// ------------------------------------------------------------------------------------------------------ the worker

function worker() {
  if (!state.worker) {
    const source = new Blob([$("worker").textContent], { type: "text/javascript" });
    state.worker = new Worker(URL.createObjectURL(source));
    state.worker.onmessage = ({ data }) => hear(data);
    state.worker.onerror = event => hear({ error: event.message || "the worker did not start" });
    state.sent.clear();
  }
  return state.worker;
}

function stop() {
  state.worker?.terminate();
  state.worker = null;
  state.looking = false;
}

function files(names) {  // those that the worker does not have yet
  const wanted = names.filter(name => !state.sent.has(name));
  wanted.forEach(name => state.sent.add(name));
  return Object.fromEntries(wanted.map(name => [name, $(`f_${name}`).textContent.trim()]));
}

function start(job, blob, stem) {
  Object.assign(state, { from: { job, blob, stem }, stem, spot: null });
  if (state.busy) stop();  // what it was at is not wanted any more
  const talk = worker(), every = Object.keys(MODELS);
  const model = chosen("way"), steps = +chosen("steps");
  const needed = every.flatMap(name => [`${name}_down`, `${name}_up`]);  // a small picture says itself which
  if (steps) needed.push(`${model}_refine`);
  busy(true);
  $("result").hidden = true;
  tell("starting");
  talk.postMessage({ job, blob, model, steps, models: MODELS, files: files(["ort", "wasm", ...needed]) });
}

function hear({ say, bar, error, done, crops, place, saved, stem, blob, ...rest }) {
  if (error) {
    busy(false);
    tell(error, true);
  } else if (done) {
    busy(false);
    show(done, rest);
  } else if (crops) {
    look(crops, place);
  } else if (saved) {
    download(`${stem}_${saved}.png`, blob);
  } else {
    tell(bar ? `${say}: ${bar[0]} of ${bar[1]} tiles` : say);
    if (bar) [$("bar").value, $("bar").max] = bar;
  }
}

function busy(is) {
  state.busy = is;
  $("busy").hidden = !is;
  $("bar").removeAttribute("value");
}

function tell(text, wrong = false) {
  $("say").textContent = text;
  $("say").classList.toggle("wrong", wrong);
}

// ----------------------------------------------------------------------------------------------------- the pictures

function show(of, { enlarged, other, model, previews }) {
  const { task, scale } = MODELS[model], colour = task === "colour";
  const names = { ...NAMES, before: colour ? "grey" : "bicubic" }, plain = colour ? "Y" : "bicubic";
  if (colour) Object.assign(names, { small: "grey that hides the colours", result: "colours from it" });
  Object.assign(state, { of, model, names });
  $("all").replaceChildren();
  for (const key of ["original", "before", "small", "result"]) {
    if (!previews[key]) continue;
    const { width, height } = previews[key], canvas = element("canvas", { width, height });
    const size = key === "small" ? [Math.ceil(of.w / scale), Math.ceil(of.h / scale)] : [of.w, of.h];
    const quality = of.psnr?.[key], close = key === "small" && of.likeness;
    canvas.getContext("2d").drawImage(previews[key], 0, 0);
    const numbers = quality ? `, ${decibels(quality)}` : close ? `, ${fixed(close)} dB from ${plain}` : "";
    $("all").append(figure(canvas, names[key], size.join(" × ") + numbers));
  }
  for (const [id, key] of [["before", "before"], ["after", "result"]]) {
    Object.assign($(id), { width: previews[key].width, height: previews[key].height });
    $(id).getContext("2d").drawImage(previews[key], 0, 0);
  }
  Object.values(previews).forEach(bitmap => bitmap.close());
  $("left").textContent = names.before;
  $("right").textContent = names.result;
  $("result").hidden = false;
  $("saves").firstElementChild.hidden = enlarged;
  const others = other ? ", but made by other weights of it: worse than it could be" : "";
  tell(enlarged ? `enlarged by ${model}${others}` : `PSNR ${names.result}${of.steps ? `, refined in ${of.steps} steps,` : ""} ` +
    `${decibels(of.psnr.result)}, ${names.before} ${decibels(of.psnr.before)}`);
  point(0.5, 0.5);
}

function fixed(value) {
  return Number.isFinite(value) ? value.toFixed(2) : "∞";
}

function decibels({ rgb, y }) {
  return `${fixed(rgb)} dB RGB, ${fixed(y)} dB Y`;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function figure(canvas, name, text) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  return element("figure", {}, canvas, element("figcaption", {}, element("b", {}, name), text));
}

// ------------------------------------------------------------------------------------------------ wipe and loupe

function wipe(percent) {
  $("slider").value = percent;
  $("wipe").style.setProperty("--edge", `${$("slider").value}%`);
}

function point(x, y) {  // in [0, 1]; while the worker is cutting, only the last place waits
  state.spot = [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
  if (state.looking || state.busy || !state.worker) return;
  state.looking = true;
  state.asked = state.spot;
  state.worker.postMessage({ crop: { x: state.spot[0], y: state.spot[1], n: LOUPE } });
}

function look(crops, place) {
  state.looking = false;
  $("loupe").replaceChildren(...Object.entries(crops).map(([key, pixels]) => {
    const canvas = element("canvas", { width: pixels.width, height: pixels.height });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return figure(canvas, state.names[key], "");
  }));
  for (const [side, part] of Object.entries(place)) $("spot").style[side] = `${100 * part}%`;
  if (state.spot !== state.asked) point(...state.spot);
}

function inside(event) {
  const box = $("wipe").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

$("slider").addEventListener("input", () => wipe($("slider").value));
$("wipe").addEventListener("pointerdown", event => {
  $("wipe").setPointerCapture(event.pointerId);
  point(...inside(event));
});
$("wipe").addEventListener("pointermove", event => {
  if (event.buttons) wipe(100 * inside(event)[0]);
  else point(...inside(event));
});
$("wipe").addEventListener("keydown", event => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way || !state.spot) return;
  event.preventDefault();
  point(...state.spot.map((at, i) => at + (way[i] * LOUPE) / 4 / [state.of.w, state.of.h][i]));
});

// ------------------------------------------------------------------------------------------------ choose and save

function chosen(name) {
  return document.querySelector(`input[name=${name}]:checked`).value;
}

function take(job, file) {
  if (file) start(job, file, file.name.replace(/\.[^.]*$/, ""));
}

async function sample(button) {
  const [, kind, text] = /url\("?data:([^;]+);base64,([^")]+)/.exec(button.style.backgroundImage);
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  start("around", new Blob([bytes], { type: kind }), button.textContent.trim());
}

function download(name, blob) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  if (!state.busy) tell("saved");
}

for (const [id, job] of [["photo", "around"], ["little", "enlarge"]]) {
  $(id).addEventListener("change", () => {
    take(job, $(id).files[0]);
    $(id).value = "";  // the same file may be chosen again
  });
}
$("samples").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) sample(button);
});
document.querySelectorAll("input[type=radio]").forEach(input => input.addEventListener("change", () => {
  if (state.from) start(state.from.job, state.from.blob, state.from.stem);
}));
$("choice").addEventListener("submit", event => event.preventDefault());
$("stop").addEventListener("click", () => {
  stop();
  busy(false);
  tell("stopped");
});
$("saves").addEventListener("click", event => {
  const key = event.target.dataset.key;
  if (!key || !state.worker) return;
  const { scale, weights } = MODELS[state.model], { w, h } = state.of;
  const facts = `{"model": "${state.model}", "scale": ${scale}, "size": [${w}, ${h}], ` +
    `"weights": "${weights}"}`;  // as Origin.chunk writes it
  tell("writing the PNG");
  state.worker.postMessage({ save: { key, facts, stem: state.stem } });
});
addEventListener("dragover", event => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take("around", event.dataTransfer.files[0]);
});
