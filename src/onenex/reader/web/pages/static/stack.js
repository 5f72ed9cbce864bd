// One series as slices of 16-bit integers: single slices where one is wanted at once, all of them in the background.

const pause = (seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));

export class Stack {
  constructor(url, nSlices, rows, columns) {
    Object.assign(this, { url, nSlices, rows, columns });
    this.slices = new Array(nSlices).fill(null);
    this.waiting = new Map();
  }

  get nLoaded() {
    return this.slices.reduce((sum, slice) => sum + (slice !== null), 0);
  }

  // Fetches one slice, unless it is here or on its way.
  slice(index) {
    if (this.slices[index] !== null) return Promise.resolve();
    if (!this.waiting.has(index)) this.waiting.set(index, this.fetchSlice(index).finally(() => this.waiting.delete(index)));
    return this.waiting.get(index);
  }

  async fetchSlice(index) {
    const answer = await fetch(`${this.url}/${index}`, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(`slice ${answer.status}`);
    this.keep(index, new Uint16Array(await answer.arrayBuffer()));
  }

  keep(index, values) {
    if (values.length !== this.rows * this.columns) throw new Error("a slice of the wrong size");
    this.slices[index] ??= values;
  }

  // Fetches the whole series; what a broken connection left out follows slice by slice.
  async load(changed) {
    await this.stream(changed).catch(() => undefined);
    for (let wait = 1; this.nLoaded < this.nSlices; ) {
      const missing = this.slices.indexOf(null);
      try {
        await this.slice(missing);
        changed(missing);
        wait = 1;
      } catch {
        await pause(wait);
        wait = Math.min(2 * wait, 15);
      }
    }
  }

  async stream(changed) {
    const answer = await fetch(`${this.url}/all`, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(`series ${answer.status}`);
    const nBytes = 2 * this.rows * this.columns;
    const all = new Uint8Array(nBytes * this.nSlices);
    const reader = answer.body.getReader();
    let got = 0;
    for (let next = 0; next < this.nSlices; ) {
      const { done, value } = await reader.read();
      if (done) throw new Error("cut short");
      all.set(value, got);
      got += value.length;
      for (; got >= (next + 1) * nBytes; next += 1) {
        this.keep(next, new Uint16Array(all.buffer, next * nBytes, nBytes / 2));
        changed(next);
      }
    }
  }
}
