// What the desk knows of a board, in words.

export const STATES = [
  ["fault", "Fault"],
  ["silent", "Silent"],
  ["starting", "Starting"],
  ["flashing", "Flashing"],
  ["booting", "Booting"],
  ["joining", "Joining"],
  ["joined", "Joined"],
  ["expected", "Expected"],
  ["stranger", "Stranger"],
];

// The stages of the flasher's console, what a receipt says, and the stages of a node.
const STAGES = {
  takeover: "starts",
  board: "looks which board it is on",
  card: "reads its card",
  disk: "looks at the disk",
  network: "waits for the network",
  manifest: "asks the image server",
  target: "chooses the disk",
  flash: "writes the disk",
  verify: "reads the disk back",
  commit: "finishes the disk",
  "boot-order": "sets the boot order",
  receipt: "reports what it has done",
  flashed: "has written the disk",
  "already-done": "has found the disk right already",
  fault: "has failed",
  named: "knows its name",
  joining: "asks its cluster to let it in",
  joined: "is a member of its cluster",
};

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const stateWord = (state) => STATES.find(([name]) => name === state)?.[1] ?? state;

export const stageWords = (node) => (Object.hasOwn(STAGES, node.stage ?? "") ? STAGES[node.stage] : node.stage) ?? "says nothing";

export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 2 * MINUTE) return `${whole} s`;
  if (whole < 2 * HOUR) return `${Math.round(whole / MINUTE)} min`;
  if (whole < 2 * DAY) return `${Math.round(whole / HOUR)} h`;
  return `${Math.round(whole / DAY)} days`;
}

export const heard = (node, now) => (node.heard ? `${span(now - node.heard)} ago` : "never");

// Time goes on between two reports.
export function left(node, now) {
  if (node.seconds_left === null || node.state !== "flashing") return null;
  const seconds = node.seconds_left - (now - node.heard);
  return seconds > 0 ? `${span(seconds)} left` : "nearly done";
}

export const rate = (bytes) => `${Math.round(bytes / 1e6)} MB/s`;

const faultTitle = (node) => `Fault ${node.fault}${node.fault_meaning ? `: ${node.fault_meaning}` : ""}`;

export const fault = (node) => (node.fault === null ? null : faultTitle(node));

// The line below a board's name.
export function line(node, now) {
  switch (node.state) {
    case "fault":
      return faultTitle(node);
    case "silent":
      return `Heard ${heard(node, now)}: ${stageWords(node)}`;
    case "expected":
      return "It has not reported yet";
    case "flashing": {
      const percent = node.percent === null ? null : `${node.percent} %`;
      return [sentence(stageWords(node)).slice(0, -1), percent, left(node, now)].filter(Boolean).join(", ");
    }
    case "booting":
      return node.stage === "boot-order" ? "Sets the boot order" : "Starts from its disk";
    case "joined":
      return [node.board, node.address].filter(Boolean).join(", ") || "Member of its cluster";
    case "stranger":
      return "No card of this site stands behind it";
    default:
      return sentence(node.message ?? stageWords(node)).slice(0, -1);
  }
}

export function trust(node) {
  switch (node.trust) {
    case "card":
      return "A card of this site has signed the last report.";
    case "node":
      return "The node has proven that it has its token.";
    case "nobody":
      return "Nobody stands behind the last report.";
    default:
      return "It has not reported yet.";
  }
}

export function image(node) {
  if (!node.image_id) return null;
  if (node.offered) return `${node.image_id}. Not the current one: the share offers ${node.offered}.`;
  return node.speaker === "receipt" ? `${node.image_id}. The current one.` : node.image_id;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleString();

export function door(door) {
  const since = door.since ? ` since ${clock(door.since)}` : "";
  switch (door.state) {
    case "open": {
      const why = door.by === "by-operator" ? "The operator has opened it." : "Its card flashes it.";
      return `Open${since}. ${why} Anyone who asks with its MAC address gets the token, until the node has joined.`;
    }
    case "joined":
      return `Closed${since}, because the node has joined.`;
    case "closed":
      return `Closed${since} by the operator. It gets no token.`;
    default:
      return "Closed. No card of this site has reported that it flashes this board, so it gets no token.";
  }
}

export const command = (node) => `gild node add DIR --mac ${node.mac} --name NAME`;

export const signCommand = (id) => `gild order sign DIR/orders/${id}.json`;

// Everything about a board that somebody should do something about: a title, what to do, and how grave it is.
export function todos(node) {
  const list = [];
  if (node.state === "fault") {
    list.push(["fault", faultTitle(node), node.next_step]);
  }
  if (node.state === "silent") {
    list.push(["silent", "Silent", `It should have spoken: look at its LED and its cable. Before, it said: ${stageWords(node)}`]);
  }
  if (node.state === "stranger") {
    list.push(["stranger", "Stranger", "No card of this site stands behind it. Choose it to see what that means"]);
  }
  if (!node.has_group && node.state !== "stranger") {
    list.push(["todo", "It will not get a name", command(node)]);
  }
  for (const finding of node.hardware.filter((finding) => finding.level === "warning")) {
    list.push(["todo", `Hardware: ${finding.subject}`, finding.message]);
  }
  return list;
}
