// Keeps the style, the scripts and one page for when there is no network. INVARIANT: no answer of the gateway is ever
// kept, nothing is asked again by itself, and nothing is sent later: whatever is not in KEPT goes to the network alone.
const KEPT = {{ kept | tojson }};
const OFFLINE = "/w/offline";
const CACHE = "weldgate-{{ page }}-" + KEPT.map((url) => url.split("/")[2].slice(0, 4)).join("");

self.addEventListener("install", (event) => {
  const all = [...KEPT, new Request(OFFLINE, { credentials: "omit", cache: "reload" })];
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(all)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const others = caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(others.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (KEPT.includes(url.pathname)) {
    event.respondWith(caches.match(url.pathname).then((kept) => kept || fetch(event.request)));
  } else if (event.request.mode === "navigate") {
    event.respondWith(fetch(event.request).catch(() => caches.match(OFFLINE)));
  }
});
