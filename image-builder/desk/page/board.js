// Everything about the chosen board.

import { fill, find, make, say, setShape, shape, show, time } from "./dom.js";
import { pattern } from "./led.js";
import * as words from "./words.js";

const LEVELS = { note: "To know", warning: "Warning" };

function facts(node, now) {
  const led = pattern(node);
  const stage = words.sentence(words.stageWords(node));
  return [
    ["Stage", node.state === "stranger" ? `It says: ${stage}` : stage],
    ["Speed", node.bytes_per_second === null || node.state !== "flashing" ? null : words.rate(node.bytes_per_second)],
    ["It says", node.fault === null ? node.message : null],
    ["Next", node.fault === null ? node.next_step : null],
    ["Waits for you", node.held ? "Yes. It looks again about once a minute." : null],
    ["LED", led ? words.sentence(led[0]) : "Not known."],
    ["Image", words.image(node)],
    ["On trial", node.on_trial ? "Yes: the image still has to prove that it starts." : null],
    ["Board", node.board],
    ["Address", node.address],
    ["Host name", node.hostname],
    ["MAC address", node.mac],
    ["Further MAC addresses", node.other_macs.join(", ") || null],
    ["Speaks", node.speaker === "node" ? "The node." : "The flasher on its card."],
    ["Trust", words.trust(node)],
  ].filter(([, value]) => value);
}

const title = find("board-state");
const icon = shape("joined");
const stateText = make("span");
title.append(icon, stateText);

function note(id, wanted) {
  show(find(id), wanted);
  return find(id);
}

// What changes by time alone.
export function drawTime(node, now) {
  say(stateText, `${words.stateWord(node.state)}. Heard ${words.heard(node, now)}.`);
  const isFlashing = node.state === "flashing" && node.percent !== null;
  show(find("board-progress"), isFlashing);
  if (!isFlashing) return;
  const [bar, text] = find("board-progress").children;
  bar.value = node.percent;
  say(text, [`${node.percent} %`, words.left(node, now)].filter(Boolean).join(", "));
}

// Shows a board; `mac` is of one that has not reported if there is no node.
export function draw(node, mac, now) {
  show(find("board"), Boolean(mac));
  if (!mac) return;
  find("board").classList.toggle("unheard", !node);
  say(find("board-name"), node?.name ?? mac);
  show(icon, node);
  if (!node) {
    say(stateText, "No report of this board has arrived.");
    return;
  }
  title.dataset.state = node.state;
  setShape(icon, node.state);
  drawTime(node, now);

  say(note("board-fault", node.fault !== null && node.state !== "stranger").querySelector("h3"), words.fault(node));
  say(find("fault-message"), words.sentence(node.message));
  say(find("fault-next"), node.next_step ? `Next: ${words.sentence(node.next_step)}` : "");
  say(
    note("board-hearsay", node.hearsay !== null).querySelector("p"),
    `Somebody whom the desk does not know says of this board: “${node.hearsay}”. It changes nothing.`,
  );
  note("board-stranger", node.state === "stranger");
  note("board-group", !node.has_group && node.state !== "stranger");
  say(find("group-command"), words.command(node));

  show(find("board-hardware"), node.hardware.length > 0);
  fill(find("board-hardware").querySelector("ul"), node.hardware, ({ level, subject, message }) =>
    make("li", level, make("strong", "", `${LEVELS[level] ?? level}, ${subject}: `), words.sentence(message)),
  );
  fill(find("facts"), facts(node, now), ([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value)));

  say(find("door-state"), words.door(node.door));
  say(find("door"), node.door.state === "open" ? "Close the door" : "Open the door");
  show(find("door"), node.state !== "stranger" || node.door.state === "open");
  fill(find("history"), [...node.history].reverse(), ({ at, text }) => make("li", "", time(at, words.clock(at)), " ", text));
}
