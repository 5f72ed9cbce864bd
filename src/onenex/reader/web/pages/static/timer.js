// Reading time: counted while the page is seen and somebody is there, told to the server every few seconds and before the end. Returns what tells it now.

const EVERY_S = 5;
const AWAY_S = 120;

export function time(server, url) {
  let since = performance.now();
  let touched = since;
  let seconds = 0;

  const count = () => {
    const now = performance.now();
    if (seen) seconds += Math.max(0, Math.min(now, touched + 1000 * AWAY_S) - since) / 1000;
    since = now;
    seen = !document.hidden;
  };
  let seen = !document.hidden;

  const tell = async (leaving = false) => {
    count();
    if (seconds <= 0) return;
    const told = seconds;
    seconds = 0;
    await server.post(url, { seconds: told }, leaving).then(
      (answer) => { if (answer.status >= 500) seconds += told; },
      () => { seconds += told; },
    );
  };

  for (const kind of ["pointerdown", "pointermove", "wheel", "keydown"]) {
    addEventListener(kind, () => { count(); touched = performance.now(); }, { passive: true, capture: true });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) tell(true);
    else { count(); touched = performance.now(); }
  });
  addEventListener("pagehide", () => tell(true));
  setInterval(() => { if (!document.hidden) tell(); }, 1000 * EVERY_S);
  return tell;
}
