// One canvas that shows one slice of one series. All panes of a page are drawn from the same state.

export class Pane {
  constructor(element, stack, spacing) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.stack = stack;
    const finest = Math.min(...spacing);
    this.finest = finest;
    this.stretch = { x: spacing[1] / finest, y: spacing[0] / finest };
    this.screen = this.canvas.getContext("2d", { alpha: false });
    this.slice = document.createElement("canvas");
    this.slice.width = stack.columns;
    this.slice.height = stack.rows;
    this.ink = this.slice.getContext("2d", { alpha: false });
    this.image = this.ink.createImageData(stack.columns, stack.rows);
    this.grey = new Uint32Array(this.image.data.buffer);
    this.drawn = "";
  }

  // Takes the size that the page gives; true where it changed.
  fit() {
    const box = this.canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * devicePixelRatio));
    const height = Math.max(1, Math.round(box.height * devicePixelRatio));
    if (width === this.canvas.width && height === this.canvas.height) return false;
    this.canvas.width = width;
    this.canvas.height = height;
    return true;
  }

  // Screen pixels (of the canvas) for one pixel of the finer spacing, at zoom 1: the whole slice is seen.
  get whole() {
    return Math.min(this.canvas.width / (this.stack.columns * this.stretch.x), this.canvas.height / (this.stack.rows * this.stretch.y));
  }

  // Millimetres to one pixel of the page (CSS), as it is drawn now.
  millimetres(state) {
    return (this.finest * devicePixelRatio) / (this.whole * state.zoom);
  }

  draw(state, lut) {
    const values = this.stack.slices[state.slice];
    if (values === null) return false;
    const wanted = `${state.slice}/${lut.serial}`;
    if (wanted !== this.drawn) {
      const { grey } = this;
      const table = lut.pixels;
      for (let index = 0; index < values.length; index += 1) grey[index] = table[values[index]];
      this.ink.putImageData(this.image, 0, 0);
      this.drawn = wanted;
    }
    const scale = this.whole * state.zoom;
    const width = this.stack.columns * this.stretch.x * scale;
    const height = this.stack.rows * this.stretch.y * scale;
    const left = (this.canvas.width - width) / 2 + (state.x * scale) / this.finest;
    const top = (this.canvas.height - height) / 2 + (state.y * scale) / this.finest;
    this.screen.fillStyle = "#000";
    this.screen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.screen.imageSmoothingEnabled = state.smooth;
    this.screen.drawImage(this.slice, left, top, width, height);
    return true;
  }
}
