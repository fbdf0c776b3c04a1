// Small changes of the page. Text of boards is only ever text.

export const find = (id) => document.getElementById(id);

export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Leaves alone what is right already, so that a selection and a reader's place stay.
export function say(element, text) {
  const wanted = text ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function show(element, wanted) {
  if (element.hidden === Boolean(wanted)) element.hidden = !wanted;
}

// Makes the children of a list again if what they are made of has changed.
const made = new WeakMap();
export function fill(list, items, child) {
  const key = JSON.stringify(items);
  if (made.get(list) === key) return;
  made.set(list, key);
  list.replaceChildren(...items.flatMap(child));
}

const SVG = "http://www.w3.org/2000/svg";

export function shape(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.classList.add("shape");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  setShape(svg, state);
  return svg;
}

export function setShape(svg, state) {
  svg.firstChild.setAttribute("href", `#shape-${state}`);
}

export function time(seconds, text) {
  const element = make("time", "", text);
  element.dateTime = new Date(seconds * 1000).toISOString();
  return element;
}
