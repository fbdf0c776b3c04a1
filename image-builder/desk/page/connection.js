// The connection to the desk. It comes back by itself.

// The desk speaks every 5 seconds (BEAT in src/web/events.rs). Milliseconds.
const TOO_QUIET = 15_000;
const AGAIN_AFTER = 3_000;

// Calls `take(event, data)` for what the desk sends, and `changed(isLive)` when the connection is there or is lost.
export function watch(take, changed) {
  let source = null;
  let heard = Date.now();

  function open() {
    source?.close();
    heard = Date.now();
    source = new EventSource("/events");
    for (const name of ["rack", "nodes", "orders"]) {
      source.addEventListener(name, (event) => {
        heard = Date.now();
        changed(true);
        take(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => changed(false));
  }

  // A browser tries again by itself after an error of the network, but not after an answer that is an error, and it does not notice
  // that a desk without power is gone.
  setInterval(() => {
    const quiet = Date.now() - heard;
    if (quiet > TOO_QUIET) changed(false);
    if (quiet > TOO_QUIET || (source.readyState === EventSource.CLOSED && quiet > AGAIN_AFTER)) open();
  }, 1000);
  open();
}
