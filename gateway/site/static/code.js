// The rolling code: counts down, and fetches the next one. An old one is never left on the screen.
const box = document.querySelector("[data-code]");
const RETRY_MS = 3000;
let until = 0;
let timer = 0;

function begin() {
  const left = box.querySelector("[data-left]");
  until = left ? performance.now() + 1000 * Number(left.dataset.left) : 0;
}

async function renew() {
  try {
    const answer = await fetch(box.dataset.code, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (answer.redirected) location.reload();
    if (!answer.ok) throw new Error(answer.status);
    box.innerHTML = await answer.text();
    begin();
    return 0;
  } catch {
    box.textContent = box.dataset.offline;
    return RETRY_MS;
  }
}

async function tick() {
  clearTimeout(timer);
  if (document.hidden) { box.textContent = ""; until = 0; return; }
  const left = box.querySelector("[data-left]");
  const wait = !left || performance.now() >= until ? await renew() : 0;
  const shown = box.querySelector("[data-left]");
  if (shown) shown.textContent = Math.max(0, Math.ceil((until - performance.now()) / 1000));
  timer = setTimeout(tick, wait || 250);
}

if (box.querySelector("[data-left]")) {
  begin();
  document.addEventListener("visibilitychange", tick);
  tick();
}
