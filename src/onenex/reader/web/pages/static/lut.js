// Window and level: from 16-bit integers to grey (PS3.3 C.11.2.1.2.1), as pixels ready for the screen.

export class Lut {
  constructor() {
    this.pixels = new Uint32Array(65536);
    this.serial = 0;
  }

  set(centre, width) {
    if (centre === this.centre && width === this.width) return;
    this.centre = centre;
    this.width = width;
    this.serial += 1;
    const low = centre - 0.5 - (width - 1) / 2;
    const span = Math.max(1, width - 1);
    const from = Math.max(0, Math.min(65536, Math.floor(low) + 1));
    const to = Math.max(from, Math.min(65536, Math.ceil(low + span)));
    this.pixels.fill(0xff000000, 0, from);
    for (let value = from; value < to; value += 1) {
      this.pixels[value] = 0xff000000 | (Math.round(((value - low) / span) * 255) * 0x010101);
    }
    this.pixels.fill(0xffffffff, to);
  }
}
