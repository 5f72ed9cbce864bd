// The questions: one is the current one, and digits answer it. Every answer is saved at once.

const TYPED_MS = 700;

export class Form {
  constructor(element, saver, before) {
    Object.assign(this, { element, saver, before, isReady: false });
    this.finish = document.getElementById("finish");
    this.left = document.getElementById("left");
    this.rows = [...element.querySelectorAll("[data-item]")];
    this.texts = [...element.querySelectorAll("textarea")];
    for (const row of this.rows) this.ready(row);
    for (const text of this.texts) this.readyText(text);
    this.finish.form.addEventListener("submit", (event) => this.finishing(event));
    this.move(this.rows.find((row) => this.chosen(row) === null) ?? this.rows[0] ?? null);
    this.tell();
  }

  ready(row) {
    this.saver.knows(row.dataset.item, row.dataset.where, Number(row.dataset.version));
    row.addEventListener("change", (event) => {
      this.saver.put(row.dataset.item, row.dataset.where, { value: Number(event.target.value) });
      this.move(row);
      this.tell();
    });
    row.addEventListener("focusin", () => this.move(row));
  }

  readyText(text) {
    this.saver.knows(text.dataset.text, text.dataset.where, Number(text.dataset.version));
    let timer = null;
    let kept = text.value;
    const save = () => {
      clearTimeout(timer);
      if (text.value === kept) return;
      kept = text.value;
      this.saver.put(text.dataset.text, text.dataset.where, { text: text.value });
      this.tell();
    };
    text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(save, TYPED_MS); });
    text.addEventListener("change", save);
    text.addEventListener("save", save);
  }

  chosen(row) {
    return row.querySelector("input:checked");
  }

  move(row) {
    this.current?.classList.remove("current");
    this.current = row;
    row?.classList.add("current");
  }

  // Answers the current question by its digit and goes on to the next open one; true where the digit means something.
  digit(key) {
    const option = this.current?.querySelector(`input[data-key="${key}"]`);
    if (!option) return false;
    if (!option.checked) {
      option.checked = true;
      option.dispatchEvent(new Event("change", { bubbles: true }));
    }
    const at = this.rows.indexOf(this.current);
    const open = [...this.rows.slice(at + 1), ...this.rows.slice(0, at)].find((row) => this.chosen(row) === null);
    if (open) this.go(open);
    else if (this.nLeft === 0) this.finish.focus({ preventScroll: false });
    return true;
  }

  go(row) {
    this.move(row);
    (this.chosen(row) ?? row.querySelector("input")).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  step(by) {
    const at = this.rows.indexOf(this.current) + by;
    if (at >= 0 && at < this.rows.length) this.go(this.rows[at]);
  }

  get nLeft() {
    const rows = this.rows.filter((row) => row.dataset.required && this.chosen(row) === null).length;
    return rows + this.texts.filter((text) => text.dataset.required && text.value.trim() === "").length;
  }

  tell() {
    const n = this.nLeft;
    this.finish.setAttribute("aria-disabled", String(n > 0));
    this.left.textContent = n === 0 ? "All questions answered. Finished cases cannot be changed." : `${n} question${n === 1 ? "" : "s"} left`;
  }

  // Sends the form only when all is answered and saved, and the time told.
  async finishing(event) {
    if (this.isReady) return;
    event.preventDefault();
    for (const text of this.texts) text.dispatchEvent(new Event("save"));
    if (this.nLeft > 0) {
      const open = this.rows.find((row) => row.dataset.required && this.chosen(row) === null);
      if (open) this.go(open);
      else this.texts.find((text) => text.dataset.required && text.value.trim() === "")?.focus();
      return;
    }
    await this.saver.running;
    if (this.saver.failed) return;
    await this.before();
    this.isReady = true;
    this.finish.form.requestSubmit(this.finish);
  }
}
