// The console's first page: decisions as they are made, and figures fetched anew. Nothing moves while somebody reads:
// what comes while the list is pointed at, focused or paused waits, and is counted.
const list = document.querySelector("[data-live]");
const pause = document.querySelector("[data-pause]");
const waiting = document.querySelector("[data-waiting]");
const lost = document.querySelector("[data-lost]");
const most = Number(list.dataset.most);
let held = [];
let source;

const paused = () => pause.getAttribute("aria-pressed") === "true";
const reading = () => paused() || list.matches(":hover") || list.contains(document.activeElement);

function show() {
  if (held.length && !reading()) {
    const items = document.createElement("template");
    items.innerHTML = held.reverse().join("");
    held = [];
    const known = new Set([...list.children].map((item) => item.dataset.seq));
    list.prepend(...[...items.content.children].filter((item) => !known.has(item.dataset.seq)));
    while (list.children.length > most) list.lastElementChild.remove();
    document.querySelector("[data-empty]")?.remove();
  }
  const count = held.join("").split("<li ").length - 1;
  const told = count ? list.dataset.told.replace("%(n)s", count >= most ? `${most}+` : count) : "";
  if (waiting.textContent !== told) waiting.textContent = told;
}

function take(event) {
  lost.hidden = true;
  held.push(event.data);
  held = held.slice(-most);
  show();
}

function open() {
  source = new EventSource(list.dataset.live);
  source.addEventListener("message", take);
  source.addEventListener("open", () => { lost.hidden = true; });
  source.addEventListener("error", () => { lost.hidden = false; });
}

function close() {
  source?.close();
  source = undefined;
}

const part = document.querySelector("[data-part]");
async function refresh() {
  if (document.hidden || part.contains(document.activeElement) || part.matches(":hover")) return;
  const answer = await fetch(part.dataset.part).catch(() => undefined);
  if (answer?.ok && !answer.redirected) part.innerHTML = await answer.text();
}

pause.addEventListener("click", () => {
  const now = !paused();
  pause.setAttribute("aria-pressed", String(now));
  show();
});
list.addEventListener("mouseleave", show);
list.addEventListener("focusout", () => setTimeout(show));
document.addEventListener("visibilitychange", () => (document.hidden ? close() : source || open()));
addEventListener("pagehide", close);
document.querySelector("[data-live-only]").hidden = false;
setInterval(refresh, Number(part.dataset.every) * 1000);
if (!document.hidden) open();
