// Sends answers one after the other, and again until they have arrived. They are kept nowhere but in this page until then.

const LONGEST_WAIT_S = 10;

export class Server {
  constructor(token) {
    this.token = token;
  }

  async post(url, body, keepalive = false) {
    const send = () => fetch(url, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-Token": this.token },
      body: JSON.stringify(body),
      keepalive,
    });
    const answer = await send();
    if (answer.status !== 403 || !(await this.renew())) return answer;
    return send();
  }

  // After another login in another tab this page goes on with the new session's token.
  async renew() {
    const answer = await fetch("/token", { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) return false;
    this.token = (await answer.json()).token;
    for (const field of document.querySelectorAll("input[name=token]")) field.value = this.token;
    return true;
  }
}

export class Saver {
  constructor(server, url, told) {
    Object.assign(this, { server, url, told });
    this.versions = new Map();
    this.waiting = new Map();
    this.running = null;
    this.wake = () => undefined;
    addEventListener("online", () => this.wake());
  }

  get isIdle() {
    return this.waiting.size === 0 && this.running === null;
  }

  // Of an answer that the server has: it refuses to change another one than we know.
  knows(item, where, version) {
    this.versions.set(`${item}@${where}`, version);
  }

  put(item, where, answer) {
    this.waiting.set(`${item}@${where}`, { item, where, ...answer });
    this.running ??= this.run().finally(() => { this.running = null; });
    return this.running;
  }

  async run() {
    this.told("saving");
    let isWell = true;
    for (let wait = 1; this.waiting.size > 0; ) {
      const [[key, answer]] = this.waiting;
      const outcome = await this.send(key, answer);
      if (outcome === "saved" || outcome === "refused") {
        if (this.waiting.get(key) === answer) this.waiting.delete(key);
        isWell &&= outcome === "saved";
        wait = 1;
        continue;
      }
      this.told(outcome, wait);
      await new Promise((go) => { this.wake = go; setTimeout(go, 1000 * wait); });
      wait = Math.min(2 * wait, LONGEST_WAIT_S);
    }
    if (isWell) this.told("saved");
  }

  async send(key, answer) {
    let response;
    try {
      response = await this.server.post(this.url, { ...answer, version: this.versions.get(key) ?? 0 });
    } catch {
      return "offline";
    }
    if (response.ok) {
      this.versions.set(key, (await response.json()).version);
      return "saved";
    }
    if (response.status === 403) return "logged-out";
    if (response.status >= 500 || response.status === 429) return "offline";
    const words = await response.json().then((found) => found.error, () => "The answer was refused.");
    this.told(response.status === 409 ? "elsewhere" : "refused", words);
    return "refused";
  }
}
