// Reads the label on a machine with the camera and opens its page. Pictures stay on the phone. Browsers that cannot read
// codes by themselves get a reader in WebAssembly from this site.
const finder = document.querySelector("[data-scan]");
const video = finder.querySelector("video");
const said = document.querySelector("#said");
const form = document.querySelector("#found");
const LABEL = /^(?:https?:\/\/[^/]+\/w\/m\/)?([A-Z0-9][A-Z0-9-]{2,31})$/i;
const LOOK_EVERY_MS = 150;
let stream;

function say(name) {
  said.textContent = finder.dataset[name];
}

async function reader() {
  const own = globalThis.BarcodeDetector;
  if (own && (await own.getSupportedFormats()).includes("qr_code")) return new own({ formats: ["qr_code"] });
  const script = document.createElement("script");
  script.src = finder.dataset.reader;
  await new Promise((resolve, reject) => { script.onload = resolve; script.onerror = reject; document.head.append(script); });
  const api = globalThis.BarcodeDetectionAPI;
  api.prepareZXingModule({ overrides: { locateFile: () => finder.dataset.wasm } });
  return new api.BarcodeDetector({ formats: ["qr_code"] });
}

function take(text) {
  const found = LABEL.exec(text.trim());
  if (!found) { say("other"); return false; }
  stop();
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(80);
  form.elements.machine.value = found[1];
  form.requestSubmit();
  return true;
}

async function look(detector) {
  if (!stream) return;
  const codes = video.readyState >= 2 ? await detector.detect(video) : [];
  if (codes.some((code) => take(code.rawValue))) return;
  setTimeout(() => look(detector).catch(() => say("none")), LOOK_EVERY_MS);
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
}

async function start() {
  if (!navigator.mediaDevices?.getUserMedia) { say("none"); return; }
  say("starting");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    say(error.name === "NotAllowedError" ? "denied" : "none");
    return;
  }
  video.srcObject = stream;
  await video.play();
  const detector = await reader();
  say("looking");
  await look(detector);
}

addEventListener("pagehide", stop);
document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else if (!stream) start(); });
start().catch(() => say("none"));
