// The operator's login: asked for once, and kept by this tab alone.

import { find, say, show } from "./dom.js";

// Until the tab is closed.
const KEPT_AS = "gild-login";
const UNAUTHORIZED = 401;
const TOO_MANY_REQUESTS = 429;

const dialog = find("login");
let wish = null;

function ask(why) {
  say(find("login-error"), why);
  find("word").value = "";
  if (!dialog.open) dialog.showModal();
  find("word").focus();
}

const noteLogin = () => show(find("forget"), sessionStorage.getItem(KEPT_AS) !== null);

async function carryOut(login) {
  const { send, answered, lost } = wish;
  let answer;
  try {
    answer = await send({ Authorization: `Bearer ${login}`, "Content-Type": "application/json" });
  } catch {
    dialog.close();
    lost();
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
  await answered(answer);
}

// Asks the desk for something with `send(headers)`, with the login. Then `answered(answer)`, or `lost()` if the desk cannot be reached.
export function asOperator(send, answered, lost) {
  wish = { send, answered, lost };
  const login = sessionStorage.getItem(KEPT_AS);
  if (login === null) ask("");
  else carryOut(login);
}

export const refusal = async (answer) => (await answer.text()).trim();

export function wire() {
  noteLogin();
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
