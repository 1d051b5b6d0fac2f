// Small helpers to build and change the document. Text from outside goes in as
// text nodes alone.

export const byID = (id) => document.getElementById(id);

// el makes an element with attributes and children, which are elements or texts.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// put sets a text, where it is another: what does not change costs nothing, and a
// selection stays.
export function put(node, text, className) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

// fill replaces the children of a node, where key says that they are others.
export function fill(node, key, make) {
  if (node.filled === key) return;
  node.filled = key;
  node.replaceChildren(...make());
}

// keyed keeps the children of parent in step with items: make makes one for a new
// key, change brings it up to date.
export function keyed(parent, keyOf, make, change) {
  const shown = new Map();
  return (items) => {
    const wanted = new Set();
    let at = parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      if (wanted.has(key)) continue;
      wanted.add(key);
      let node = shown.get(key);
      if (!node) shown.set(key, (node = make(item)));
      change(node, item);
      if (node === at) at = at.nextElementSibling;
      else parent.insertBefore(node, at);
    }
    for (const [key, node] of shown) {
      if (!wanted.has(key)) {
        node.remove();
        shown.delete(key);
      }
    }
  };
}

// rowOf makes a table row of empty cells; the first is its header.
export function rowOf(classes, className) {
  const row = el("tr", { class: className });
  classes.forEach((of, i) => row.append(i === 0 ? el("th", { scope: "row", class: of || undefined }) : el("td", { class: of || undefined })));
  return row;
}

// filterBox calls changed when what it holds is another, and returns a function
// that tells whether any of some texts contains it.
export function filterBox(id, changed) {
  const box = byID(id);
  box.addEventListener("input", changed);
  return (...texts) => {
    const wanted = box.value.trim().toLowerCase();
    return wanted === "" || texts.some((text) => String(text).toLowerCase().includes(wanted));
  };
}
