// The rack picture: each board is a unit with its LED.

import { find, make, say, setShape, shape, show } from "./dom.js";
import * as led from "./led.js";
import * as words from "./words.js";

// So many boards have a row each, and so many have a line of text.
const FEW = 10;
const SOME = 30;
// The maker's half of a MAC address, which says little among boards of one kind.
const MAKER = "d8:3a:dd:".length;

const units = new Map();
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// By name; those without one behind, and strangers last.
export function order(a, b) {
  const rank = (node) => (node.state === "stranger" ? 2 : Number(node.name === node.mac));
  return rank(a) - rank(b) || byName.compare(a.name, b.name) || byName.compare(a.mac, b.mac);
}

function makeUnit(node) {
  const lamp = make("span", "lamp");
  const parts = {
    lamp,
    maker: make("span", "maker"),
    own: make("span"),
    state: make("span", "state"),
    shape: shape(node.state),
    word: make("span", "word"),
    line: make("span", "line"),
    bar: make("span", "bar", make("span")),
  };
  const socket = make("span", "led", lamp);
  socket.setAttribute("aria-hidden", "true");
  parts.bar.setAttribute("aria-hidden", "true");
  parts.link = make(
    "a",
    "",
    socket,
    make("span", "name", parts.maker, parts.own),
    " ",
    parts.state,
    " ",
    parts.line,
    parts.bar,
  );
  parts.state.append(parts.shape, parts.word);
  parts.link.href = `#${node.mac}`;
  parts.item = make("li", "", parts.link);
  return parts;
}

// Draws one board.
export function draw(node, now) {
  const unit = units.get(node.mac) ?? makeUnit(node);
  units.set(node.mac, unit);
  const isNameless = node.name === node.mac;
  say(unit.maker, isNameless ? node.name.slice(0, MAKER) : "");
  say(unit.own, isNameless ? node.name.slice(MAKER) : node.name);
  if (unit.item.dataset.state !== node.state) {
    unit.item.dataset.state = node.state;
    setShape(unit.shape, node.state);
    say(unit.word, words.stateWord(node.state));
  }
  // Small units have no room for words: the number of the fault is what the LED blinks.
  if (node.state === "fault") unit.state.dataset.fault = node.fault;
  else delete unit.state.dataset.fault;
  unit.lamp.dataset.board = node.board ?? "";
  led.draw(unit.lamp, node);
  const percent = node.state === "flashing" ? node.percent : null;
  show(unit.bar, percent !== null);
  if (percent !== null) unit.bar.firstChild.style.inlineSize = `${percent}%`;
  drawTime(node, now);
}

// What changes by time alone.
export function drawTime(node, now) {
  const unit = units.get(node.mac);
  if (unit) say(unit.line, words.line(node, now));
}

// Puts the boards in order, and takes away those that are gone.
export function arrange(nodes, fits, chosen) {
  const list = find("units");
  const macs = new Set(nodes.map((node) => node.mac));
  for (const [mac, unit] of units) {
    if (macs.has(mac)) continue;
    led.forget(unit.lamp);
    unit.item.remove();
    units.delete(mac);
  }
  let visible = 0;
  nodes.forEach((node, index) => {
    const { item, link } = units.get(node.mac);
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    const isShown = fits(node);
    visible += Number(isShown);
    show(item, isShown);
    if (node.mac === chosen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
  const size = nodes.length <= FEW ? "large" : nodes.length <= SOME ? "middle" : "small";
  if (find("cabinet").className !== size) find("cabinet").className = size;
  show(find("cabinet"), visible > 0);
  return visible;
}

export const focus = (mac) => units.get(mac)?.link.focus();
