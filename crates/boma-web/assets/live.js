// Lets the part of a page that was measured be fetched again whenever something changed there. Without
// this script a page says what was so when it was opened.
let stream;

addEventListener("pageshow", () => {
  stream = new EventSource("/stream");
  stream.addEventListener("changed", () => {
    const live = document.getElementById("live");
    if (live) htmx.trigger(live, "changed");
  });
});

// A browser that leaves a page would break the connection off, and say so as if it was a fault.
addEventListener("pagehide", () => stream?.close());
