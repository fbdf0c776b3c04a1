// The page of the rack: what the desk sends, what is shown of it, and what is chosen.

import * as board from "./board.js";
import { watch } from "./connection.js";
import { fill, find, make, say, shape, show } from "./dom.js";
import * as door from "./door.js";
import * as led from "./led.js";
import * as login from "./login.js";
import * as orders from "./orders.js";
import * as units from "./units.js";
import * as words from "./words.js";

const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

// A screen reader has begun with it by then. Milliseconds.
const SAID_FOR = 20_000;

const nodes = new Map();
let silence = 0;
let hasRack = false;
let isLive = null;
// The desk's clock less this machine's. Seconds.
let skew = 0;
let chosen = null;
let isStill = false;
const filter = { states: new Set(), words: "" };

const now = () => Date.now() / 1000 + skew;

// A board is known by each of its addresses.
function chosenNode() {
  const isOne = (node) => node.other_macs.includes(chosen);
  return nodes.get(chosen) ?? [...nodes.values()].find(isOne) ?? null;
}

function fits(node) {
  if (filter.states.size > 0 && !filter.states.has(node.state)) return false;
  const own = [node.name, node.mac, ...node.other_macs, node.board, node.image_id, node.offered, node.address];
  const all = own.filter(Boolean).join("\n").toLowerCase();
  return filter.words.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

function drawStates() {
  for (const [state] of words.STATES) {
    const button = find(`state-${state}`);
    const number = [...nodes.values()].filter((node) => node.state === state).length;
    say(button.querySelector(".number"), String(number));
    // Most racks have none, and the eight others fill two rows of a phone.
    show(button, state !== "expected" || number > 0 || filter.states.has(state));
    button.classList.toggle("none", number === 0);
    button.setAttribute("aria-pressed", String(filter.states.has(state)));
  }
}

function drawTodos(sorted) {
  const rank = ["fault", "silent", "todo", "stranger"];
  // Boards of which the same is to be said stand together: a whole rack may have lost its switch.
  const together = new Map();
  for (const node of sorted) {
    for (const [kind, title, what] of words.todos(node)) {
      const key = JSON.stringify([kind, title, what]);
      if (!together.has(key)) together.set(key, { kind, title, what, boards: [] });
      together.get(key).boards.push([node.mac, node.name]);
    }
  }
  const items = [...together.values()].sort((a, b) => rank.indexOf(a.kind) - rank.indexOf(b.kind));
  fill(find("todo-list"), items, ({ kind, title, what, boards }) => {
    const links = boards.flatMap(([mac, name]) => {
      const link = make("a", "", name);
      link.href = `#${mac}`;
      return [link, " "];
    });
    const item = make("li", "", shape(kind === "todo" ? "fault" : kind), make("p", "", ...links, make("strong", "", title)));
    item.dataset.kind = kind;
    if (what?.startsWith("gild ")) item.append(make("p", "", make("code", "", what)));
    else if (what) item.append(make("p", "", words.sentence(what)));
    return item;
  });
  show(find("nothing"), hasRack && nodes.size > 0 && items.length === 0);
  show(find("todo"), nodes.size > 0);
  show(find("needs"), items.length > 0);
  say(find("needs"), `What needs you: ${items.length}`);
  const faults = sorted.filter((node) => node.state === "fault").length;
  document.title = faults === 0 ? "Rack" : `${faults} with a fault, Rack`;
}

function drawChosen() {
  const node = chosen && chosenNode();
  board.draw(node, hasRack ? chosen : null, now());
  if (node) orders.draw(node);
}

function drawAll() {
  const sorted = [...nodes.values()].sort(units.order);
  const node = chosen && chosenNode();
  const visible = units.arrange(sorted, fits, node?.mac);
  show(find("empty"), hasRack && nodes.size === 0);
  show(find("unmatched"), nodes.size > 0 && visible === 0);
  drawStates();
  drawTodos(sorted);
  show(find("audit"), nodes.size > 0);
  drawChosen();
}

function announce(node, before) {
  if (node.fault === null || before?.fault === node.fault || node.state === "stranger") return [];
  return [`${node.name}: ${words.fault(node)}.`];
}

function take(event, data) {
  if (event === "orders") {
    orders.take(data.orders);
    drawChosen();
    return;
  }
  skew = data.now - Date.now() / 1000;
  const before = new Map(nodes);
  if (event === "rack") nodes.clear();
  for (const node of data.nodes) {
    nodes.set(node.mac, node);
    units.draw(node, now());
  }
  const news = hasRack ? data.nodes.flatMap((node) => announce(node, before.get(node.mac))) : [];
  if (news.length > 0) {
    say(find("news"), news.join(" "));
    clearTimeout(silence);
    // So that the same fault is said again when it comes again.
    silence = setTimeout(() => say(find("news"), ""), SAID_FOR);
  }
  hasRack = true;
  if (event === "rack" || data.nodes.length > 0) drawAll();
}

function connection(live) {
  if (live === isLive) return;
  isLive = live;
  find("connection").dataset.state = live ? "live" : "lost";
  document.body.classList.toggle("stale", !live);
  // Nobody knows how they blink now.
  led.hold(isStill || !live);
  const of = hasRack ? ` What you see is of ${new Date().toLocaleTimeString()}.` : "";
  say(find("connection-text"), live ? "Live" : `Connection lost.${of} Trying again.`);
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  const states = (query.get("state") ?? "").split(",");
  filter.states = new Set(words.STATES.map(([name]) => name).filter((name) => states.includes(name)));
  filter.words = query.get("q") ?? "";
  if (find("words").value !== filter.words) find("words").value = filter.words;
  // Some programs that pass an address on write a colon so.
  const mac = location.hash.slice(1).toLowerCase().replaceAll("%3a", ":");
  // Links within the page close nothing.
  if (!["rack", "todo", "orders"].includes(mac)) chosen = MAC.test(mac) ? mac : null;
}

function writeFilter() {
  const query = new URLSearchParams();
  if (filter.states.size > 0) query.set("state", [...filter.states].join(","));
  if (filter.words) query.set("q", filter.words);
  // A comma may stand in a query as it is, and reads better.
  const text = query.toString().replaceAll("%2C", ",");
  history.replaceState(null, "", location.pathname + (text && `?${text}`) + location.hash);
  drawAll();
}

function close() {
  const mac = chosenNode()?.mac;
  history.pushState(null, "", location.pathname + location.search);
  readAddress();
  drawAll();
  units.focus(mac);
}

function wire() {
  for (const [state, word] of words.STATES) {
    const button = make("button", "", shape(state), make("span", "number", "0"), " ", make("span", "word", word));
    button.type = "button";
    button.id = `state-${state}`;
    button.dataset.state = state;
    button.addEventListener("click", () => {
      if (!filter.states.delete(state)) filter.states.add(state);
      writeFilter();
    });
    find("states").append(button);
  }
  find("words").addEventListener("input", () => {
    filter.words = find("words").value.trim();
    writeFilter();
  });
  find("all").addEventListener("click", () => {
    filter.states.clear();
    filter.words = "";
    find("words").value = "";
    writeFilter();
    find("words").focus();
  });
  find("close").addEventListener("click", (event) => {
    event.preventDefault();
    close();
  });
  find("board").addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  find("blinking").addEventListener("click", () => {
    isStill = !isStill;
    find("blinking").setAttribute("aria-pressed", String(isStill));
    led.hold(isStill || !isLive);
  });
  addEventListener("hashchange", () => {
    const before = chosen;
    readAddress();
    drawAll();
    say(find("door-says"), "");
    orders.forgetWords();
    if (chosen && chosen !== before) find("board").focus();
  });
  setInterval(() => {
    for (const node of nodes.values()) units.drawTime(node, now());
    const node = chosen && chosenNode();
    if (node) board.drawTime(node, now());
  }, 1000);
  login.wire();
  door.wire(chosenNode);
  orders.wire(chosenNode, () => [...nodes.values()]);
}

say(find("site"), location.hostname);
readAddress();
wire();
drawStates();
watch(take, connection);
