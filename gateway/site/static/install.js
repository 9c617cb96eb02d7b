// The worker that shows a page where there is no network. It answers nothing else: see templates/welder/worker.js.
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("/w/worker.js", { scope: "/w" }).catch(() => {});
}
