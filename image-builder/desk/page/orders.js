// Orders: what boards are to do, and how far each is. The page queues drafts; they count when somebody signs them.

import { fill, find, make, say, show, time } from "./dom.js";
import { asOperator, refusal } from "./login.js";
import * as units from "./units.js";
import * as words from "./words.js";

const ACTIONS = {
  flash: ["Write again", "The disk is written again: all data on it is lost."],
  hold: ["Hold", "The disk is not written as long as the order counts."],
  identify: ["Identify", "The LED shows which board it is as long as the order counts."],
};
// As `gild order new` has them.
const HOURS = { flash: 24, hold: 24, identify: 1 };

const STATES = {
  queued: "Waits for a signature",
  signed: "Signed",
  done: "Carried out",
  stopped: "Stopped",
  expired: "Does not count any more",
  wrong: "Does not count",
};
const OF_NODES = {
  queued: "waits for the signature",
  waits: "does not have it yet",
  next: "is the next one",
  handed: "has it",
  begun: "is at it",
  refused: "does not carry it out",
  fault: "has failed",
  done: "has carried it out",
  overtaken: "has carried out a later one",
  "not-reached": "does not get it, because the order has stopped",
};

const dialog = find("order");
let orders = [];
let wanted = null;
// The draft that the words beside the buttons are about.
let queued = null;

const macsOf = (node) => [node.mac, ...node.other_macs];
const ownState = (node) => OF_NODES[node.state] ?? node.state;
const because = (why) => (why ? `: ${why}` : "");

function takeBack(id) {
  asOperator(
    (headers) => fetch(`/orders/${id}`, { method: "DELETE", headers }),
    async (answer) => say(find("order-says"), answer.ok ? "The order is taken back." : `The order is as it was: ${await refusal(answer)}`),
    () => say(find("order-says"), "The desk cannot be reached: the order is as it was."),
  );
}

function nodeLine({ mac, name, state, at, why }) {
  const link = make("a", "", name);
  link.href = `#${mac}`;
  const line = make("li", "", link, ` ${ownState({ state })}${because(why)}`);
  if (at) line.append(" ", time(at, words.clock(at)));
  return line;
}

function item(order) {
  const title = make("p", "", make("strong", "", STATES[order.state] ?? order.state), because(order.why));
  const says = make("p", "", order.says ? words.sentence(order.says) : "It cannot be read.");
  const facts = make("p", "soft", order.id);
  if (order.expires) facts.append(", counts until ", time(order.expires, words.clock(order.expires)));
  const parts = [title, says, make("ul", "", ...order.nodes.map(nodeLine)), facts];
  if (order.state === "queued") {
    parts.push(make("p", "", "It counts when you sign it, DIR is the folder of this desk: ", make("code", "", words.signCommand(order.id))));
  }
  const button = make("button", "", "Take back");
  button.type = "button";
  button.setAttribute("aria-label", `Take back the order ${order.id}`);
  button.addEventListener("click", () => takeBack(order.id));
  const element = make("li", "", ...parts, make("p", "actions", button));
  element.dataset.order = order.state;
  return element;
}

// Takes in what the desk sends.
export function take(all) {
  // The answer to a wish may be here before the order is.
  const isKnown = orders.some(({ id }) => id === queued);
  orders = all;
  show(find("orders"), orders.length > 0);
  fill(find("order-list"), orders, item);
  const isStillQueued = orders.some(({ id, state }) => id === queued && state === "queued");
  if (isKnown && !isStillQueued) forgetWords();
}

// What the chosen board is ordered.
export function draw(node) {
  const macs = macsOf(node);
  const own = orders.flatMap((order) => {
    const line = order.nodes.find(({ mac }) => macs.includes(mac));
    return line ? [{ id: order.id, action: order.action, state: order.state, line }] : [];
  });
  fill(find("board-orders"), own, ({ id, action, state, line }) => {
    const title = ACTIONS[action]?.[0] ?? id;
    const text = ["expired", "wrong"].includes(state) ? STATES[state] : `It ${ownState(line)}${because(line.why)}`;
    return make("li", "", make("strong", "", title), ` ${words.sentence(text)} `, make("span", "soft", id));
  });
  show(find("no-orders"), own.length === 0);
  const isKnown = node.state !== "stranger";
  for (const action of Object.keys(ACTIONS)) show(find(`order-${action}`), isKnown);
}

function choice(node, isChosen) {
  const box = make("input");
  box.type = "checkbox";
  box.value = node.mac;
  box.checked = isChosen;
  const label = make("label", "check", box, node.name === node.mac ? node.name : `${node.name}, ${node.mac}`);
  return make("li", "", label);
}

function open(action, node, nodes) {
  const [title, what] = ACTIONS[action];
  wanted = action;
  say(find("order-title"), title);
  say(find("order-what"), what);
  show(find("order-flash-fields"), action === "flash");
  find("order-choice").value = "current";
  for (const id of ["order-name", "order-disk"]) find(id).value = "";
  for (const id of ["order-erase", "order-rolling"]) find(id).checked = false;
  find("order-hours").value = HOURS[action];
  say(find("order-error"), "");
  chooseImage();
  const others = nodes.filter((other) => other.state !== "stranger" && other.mac !== node.mac).sort(units.order);
  find("order-boards").replaceChildren(choice(node, true), ...others.map((other) => choice(other, false)));
  dialog.showModal();
}

function chooseImage() {
  const kind = find("order-choice").value;
  show(find("order-named"), kind !== "current");
  find("order-name").required = wanted === "flash" && kind !== "current";
  say(find("order-name-label"), kind === "channel" ? "Name of the channel, canary for example" : "Image id, as gild image list shows it");
}

function wish() {
  const boxes = [...find("order-boards").querySelectorAll("input")];
  const order = { action: wanted, nodes: boxes.filter((box) => box.checked).map((box) => box.value), hours: Number(find("order-hours").value) };
  if (wanted !== "flash") return order;
  const kind = find("order-choice").value;
  if (kind !== "current") order[kind] = find("order-name").value.trim();
  const disk = find("order-disk").value.trim();
  if (disk) order.disk = disk;
  return { ...order, erase: find("order-erase").checked, rolling: find("order-rolling").checked };
}

function queue() {
  const body = JSON.stringify(wish());
  asOperator(
    (headers) => fetch("/orders", { method: "POST", headers, body }),
    async (answer) => {
      if (!answer.ok) {
        say(find("order-error"), words.sentence(await refusal(answer)));
        return;
      }
      const { id } = await answer.json();
      dialog.close();
      queued = id;
      say(find("order-says"), `Queued as ${id}. It counts when you sign it:`);
      say(find("order-command"), words.signCommand(id));
    },
    () => say(find("order-error"), "The desk cannot be reached: nothing is queued."),
  );
}

export function forgetWords() {
  queued = null;
  say(find("order-says"), "");
  say(find("order-command"), "");
}

function showAudit() {
  asOperator(
    (headers) => fetch("/audit", { headers }),
    async (answer) => {
      if (!answer.ok) {
        say(find("audit-says"), await refusal(answer));
        return;
      }
      const { acts } = await answer.json();
      say(find("audit-says"), acts.length === 0 ? "Nothing was done with the login yet." : "");
      fill(find("audit-list"), acts.reverse(), ({ at, from, text }) => make("li", "", time(at, words.clock(at)), ` ${from} ${text}`));
    },
    () => say(find("audit-says"), "The desk cannot be reached."),
  );
}

// Wires the buttons; `chosen()` is the board that they are about, and `all()` has every board.
export function wire(chosen, all) {
  for (const action of Object.keys(ACTIONS)) {
    find(`order-${action}`).addEventListener("click", () => {
      const node = chosen();
      forgetWords();
      if (node) open(action, node, all());
    });
  }
  find("order-choice").addEventListener("change", chooseImage);
  find("order-all").addEventListener("click", () => {
    for (const box of find("order-boards").querySelectorAll("input")) box.checked = true;
  });
  find("order-cancel").addEventListener("click", () => dialog.close());
  find("order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    queue();
  });
  find("audit-show").addEventListener("click", showAudit);
}
