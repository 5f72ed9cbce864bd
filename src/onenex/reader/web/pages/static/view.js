// What is on screen: slice, zoom, place, window. One state for all panes, so that two series always move together.
import { Lut } from "./lut.js";

const BARS_MM = [1, 2, 5, 10, 20, 50, 100, 200];
const between = (low, value, high) => Math.min(high, Math.max(low, value));

export class View {
  constructor(panes, start, told) {
    this.panes = panes;
    this.start = start;
    this.told = told;
    this.lut = new Lut();
    this.asked = false;
    this.nSlices = panes[0].stack.nSlices;
    this.state = { ...start };
    new ResizeObserver(() => this.ask()).observe(panes[0].element);
  }

  reset() {
    this.change({ ...this.start });
  }

  change(parts) {
    Object.assign(this.state, parts);
    this.ask();
  }

  scroll(by) {
    this.show(this.state.slice + by);
  }

  show(slice) {
    this.change({ slice: between(0, slice, this.nSlices - 1) });
    for (const pane of this.panes) pane.stack.slice(this.state.slice).then(() => this.ask(), () => undefined);
  }

  // Zooms around a point of a pane (CSS pixels from its middle), which stays where it is.
  zoom(factor, x = 0, y = 0) {
    const before = this.panes[0].millimetres(this.state);
    const zoom = between(0.5, this.state.zoom * factor, 16);
    const after = (before * this.state.zoom) / zoom;
    this.change({ zoom });
    this.place(this.state.x + x * (after - before), this.state.y + y * (after - before));
  }

  // Moves by CSS pixels.
  pan(x, y) {
    const size = this.panes[0].millimetres(this.state);
    this.place(this.state.x + x * size, this.state.y + y * size);
  }

  place(x, y) {
    const { stack, finest, stretch } = this.panes[0];
    const [wide, high] = [0.5 * stack.columns * stretch.x * finest, 0.5 * stack.rows * stretch.y * finest];
    this.change({ x: between(-wide, x, wide), y: between(-high, y, high) });
  }

  // Wider (> 1) or narrower window.
  width(factor) {
    this.change({ width: between(16, this.state.width * factor, 4 * 65536) });
  }

  // Brighter (> 0) or darker, in parts of the window's width.
  brightness(part) {
    this.change({ centre: between(-65536, this.state.centre - part * this.state.width, 2 * 65536) });
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.paint();
    });
  }

  // All panes or none: one that is early would look better.
  paint() {
    for (const pane of this.panes) pane.fit();
    this.lut.set(this.state.centre, this.state.width);
    const ready = this.panes.every((pane) => pane.stack.slices[this.state.slice] !== null);
    if (ready) for (const pane of this.panes) pane.draw(this.state, this.lut);
    this.told(this.state, ready);
  }

  // The longest round length that fits into a quarter of the pane: millimetres, and CSS pixels.
  bar() {
    const size = this.panes[0].millimetres(this.state);
    const room = (this.panes[0].canvas.width / devicePixelRatio / 4) * size;
    const length = BARS_MM.findLast((one) => one <= room) ?? BARS_MM[0];
    return { length, pixels: length / size };
  }
}
