// A session as it goes on: the part of the page comes anew whenever it changes. Nobody is told while nobody looks.
const watched = new Map();

function phaseOf(element) {
  return element.querySelector("[data-phase]")?.dataset.phase;
}

function show(element, text) {
  const before = phaseOf(element);
  element.innerHTML = text;
  const now = phaseOf(element);
  if (now !== before && navigator.userActivation?.hasBeenActive) {
    navigator.vibrate?.(["unlocked", "welding", "idle"].includes(now) ? 250 : [120, 80, 120]);
  }
}

function open(element) {
  const source = new EventSource(element.dataset.live);
  const lost = element.parentElement.querySelector("[data-lost]");
  source.addEventListener("message", (event) => {
    lost.hidden = true;
    show(element, event.data);
  });
  source.addEventListener("over", () => close(element, true));
  source.addEventListener("error", () => { lost.hidden = false; });
  watched.set(element, source);
}

function close(element, over) {
  watched.get(element)?.close();
  watched.set(element, over ? "over" : undefined);
}

function follow() {
  for (const element of watched.keys()) {
    if (!element.isConnected) { if (watched.get(element) !== "over") close(element, false); watched.delete(element); }
  }
  for (const element of document.querySelectorAll("[data-live]")) {
    if (document.hidden) { if (watched.get(element) !== "over") close(element, false); }
    else if (!watched.get(element)) open(element);
  }
}

document.addEventListener("visibilitychange", follow);
document.addEventListener("swapped", follow);
addEventListener("pagehide", () => { for (const [element, source] of watched) if (source !== "over") close(element, false); });
follow();
