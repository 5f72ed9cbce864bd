// Mouse and touch on a pane: wheel scrolls, left button moves, right button changes the window, middle button and two fingers zoom.

const STEP = 24;
const STILL = 40;

export function touchable(pane, view) {
  const { canvas } = pane;
  const down = new Map();
  let rest = 0;

  const fromMiddle = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };

  const scrolled = (pixels, step) => {
    rest += pixels;
    const slices = Math.trunc(rest / step);
    rest -= slices * step;
    if (slices) view.scroll(slices);
  };

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, STILL, 400][event.deltaMode];
    if (event.ctrlKey) view.zoom(Math.exp(-pixels / 400), ...fromMiddle(event));
    else if (Math.abs(pixels) >= STILL) view.scroll(Math.sign(pixels));
    else scrolled(pixels, STILL);
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 1) event.preventDefault();
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, button: event.button });
    rest = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => down.delete(event.pointerId));

  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const [x, y] = [event.clientX - last.x, event.clientY - last.y];
    if (down.size === 2) pinch(event, last, x, y);
    else if (event.pointerType === "touch") scrolled(-y, STEP);
    else if (last.button === 2) {
      view.width(Math.exp(x / 300));
      view.brightness(-y / 400);
    } else if (last.button === 1) view.zoom(Math.exp(-y / 200));
    else view.pan(x, y);
    Object.assign(last, { x: event.clientX, y: event.clientY });
  });

  function pinch(event, last, x, y) {
    const [[, other]] = [...down].filter(([id]) => id !== event.pointerId);
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    view.zoom(apart({ x: event.clientX, y: event.clientY }) / Math.max(1, apart(last)));
    view.pan(x / 2, y / 2);
  }
}
