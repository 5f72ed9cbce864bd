// Keys of the reading page. They rest while somebody writes, in the help, and when switched off there.

const PAN = 40;

export function viewerKeys(view) {
  return {
    ArrowUp: () => view.scroll(-1),
    ArrowDown: () => view.scroll(1),
    PageUp: () => view.scroll(-5),
    PageDown: () => view.scroll(5),
    Home: () => view.show(0),
    End: () => view.show(view.nSlices - 1),
    "shift ArrowUp": () => view.pan(0, PAN),
    "shift ArrowDown": () => view.pan(0, -PAN),
    "shift ArrowLeft": () => view.pan(PAN, 0),
    "shift ArrowRight": () => view.pan(-PAN, 0),
    "+": () => view.zoom(1.2),
    "=": () => view.zoom(1.2),
    "-": () => view.zoom(1 / 1.2),
    w: () => view.width(1 / 1.1),
    "shift w": () => view.width(1.1),
    l: () => view.brightness(0.05),
    "shift l": () => view.brightness(-0.05),
    r: () => view.reset(),
    i: () => view.change({ smooth: !view.state.smooth }),
  };
}

function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const shifted = event.shiftKey && (key.length > 1 || (key >= "a" && key <= "z"));
  return shifted ? `shift ${key}` : key;
}

export function listen(keys, digit, isOn) {
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || target.closest("dialog[open]")) return;
    if (target.matches("textarea, input[type=text]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (!isOn() && event.key.length === 1) return;
    const action = keys[nameOf(event)];
    if (action) action();
    else if (!/^[0-9]$/.test(event.key) || !digit(event.key)) return;
    event.preventDefault();
  });
}
