// Opens and closes doors, with the operator's login.

import { find, say, show } from "./dom.js";

// Of this tab alone, until it is closed.
const KEPT_AS = "gild-login";
const UNAUTHORIZED = 401;
const TOO_MANY_REQUESTS = 429;

const dialog = find("login");
let wish = null;

function send(login) {
  return fetch("/door", {
    method: "POST",
    headers: { Authorization: `Bearer ${login}`, "Content-Type": "application/json" },
    body: JSON.stringify(wish),
  });
}

function ask(why) {
  say(find("login-error"), why);
  find("word").value = "";
  if (!dialog.open) dialog.showModal();
  find("word").focus();
}

const noteLogin = () => show(find("forget"), sessionStorage.getItem(KEPT_AS) !== null);

async function carryOut(login) {
  let answer;
  try {
    answer = await send(login);
  } catch {
    dialog.close();
    say(find("door-says"), "The desk cannot be reached: the door is as it was.");
    return;
  }
  if (answer.status === UNAUTHORIZED) {
    sessionStorage.removeItem(KEPT_AS);
    noteLogin();
    ask("This is not the login of this desk.");
    return;
  }
  // The desk has not looked at the login then.
  if (answer.status !== TOO_MANY_REQUESTS) sessionStorage.setItem(KEPT_AS, login);
  noteLogin();
  dialog.close();
  const done = wish.open ? "The door is open." : "The door is closed.";
  say(find("door-says"), answer.ok ? done : `The door is as it was: ${(await answer.text()).trim()}`);
}

// Wires the buttons; `chosen()` is the node that they are about.
export function wire(chosen) {
  noteLogin();
  find("door").addEventListener("click", () => {
    const node = chosen();
    if (!node) return;
    say(find("door-says"), "");
    wish = { mac: node.mac, open: node.door.state !== "open" };
    const login = sessionStorage.getItem(KEPT_AS);
    if (login === null) ask("");
    else carryOut(login);
  });
  find("forget").addEventListener("click", () => {
    sessionStorage.removeItem(KEPT_AS);
    noteLogin();
    find("door").focus();
  });
  find("cancel").addEventListener("click", () => dialog.close());
  find("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    carryOut(find("word").value.trim());
  });
}
