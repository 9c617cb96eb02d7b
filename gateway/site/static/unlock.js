// The one button. It asks now or not at all: a few seconds, then it says so, and nothing is sent later by itself.
// Pressed again it asks the same once more. Without this script the form does all of it, with the browser's patience.
const DEADLINE_MS = 9000;
const OLD_AFTER_MS = 60000;
const opened = Date.now();
let asking = false;

function say(text) {
  document.querySelector("#said").textContent = text;
}

function buzz(pattern) {
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(pattern);
}

function swap(text, url) {
  const page = new DOMParser().parseFromString(text, "text/html");
  document.querySelector("main").replaceWith(page.querySelector("main"));
  document.title = page.title;
  const outcome = document.querySelector("[data-outcome]")?.dataset.outcome;
  buzz(outcome === "allow" ? 120 : [200, 100, 200]);
  if (outcome) {
    history.pushState(null, "", url);
    document.querySelector("#answer").focus();
  }
  scrollTo(0, 0);
  document.dispatchEvent(new Event("swapped"));
}

async function ask(form) {
  const body = new URLSearchParams(new FormData(form));
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const answer = await fetch(form.action, { method: "POST", body, signal, cache: "no-store" });
  const text = await answer.text();
  if (new URL(answer.url).pathname.startsWith("/w/m/")) swap(text, answer.url);
  else location.assign(answer.url);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-unlock]")) return;
  event.preventDefault();
  if (asking) return;
  if (!navigator.onLine) { say(form.dataset.offline); buzz([200, 100, 200]); return; }
  asking = true;
  form.querySelector("button").setAttribute("aria-disabled", "true");
  say(form.dataset.asking);
  try {
    await ask(form);
  } catch {
    say(form.dataset.silent);
    buzz([200, 100, 200]);
  } finally {
    form.querySelector("button").removeAttribute("aria-disabled");
    asking = false;
  }
});

addEventListener("popstate", () => location.reload());
document.addEventListener("visibilitychange", () => {
  const idle = !asking && document.querySelector("[data-unlock]");
  if (!document.hidden && idle && Date.now() - opened > OLD_AFTER_MS) location.reload();
});
