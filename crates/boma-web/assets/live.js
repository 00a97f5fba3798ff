// Lets the part of a page that was measured be fetched again whenever something changed there. Without
// this script a page says what was so when it was opened.
let stream;

// A browser has six connections to a server, for all of its tabs: one that nobody looks at needs none.
function listen() {
  if (stream || document.hidden) return;
  stream = new EventSource("/stream");
  stream.addEventListener("changed", () => {
    const live = document.getElementById("live");
    if (live) htmx.trigger(live, "changed");
  });
}

// Left open, the browser would break it off when the page is left, and call that a fault.
function stop() {
  stream?.close();
  stream = undefined;
}

addEventListener("pageshow", listen);
addEventListener("pagehide", stop);
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));

// What is measured all the time changes without anything having happened: asked for while somebody looks.
setInterval(() => {
  const measured = document.hidden ? null : document.getElementById("measured");
  if (measured) htmx.trigger(measured, "moment");
}, 10000);

// What a person has unfolded stays so.
let unfolded = [];
addEventListener("htmx:beforeSwap", () => {
  unfolded = [...document.querySelectorAll("details[open][id]")].map((one) => one.id);
});
addEventListener("htmx:afterSwap", () => {
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
});
