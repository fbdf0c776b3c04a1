// Opens and closes doors, with the operator's login.

import { find, say } from "./dom.js";
import { asOperator, refusal } from "./login.js";

// Wires the button; `chosen()` is the node that it is about.
export function wire(chosen) {
  find("door").addEventListener("click", () => {
    const node = chosen();
    if (!node) return;
    say(find("door-says"), "");
    const wish = { mac: node.mac, open: node.door.state !== "open" };
    const done = wish.open ? "The door is open." : "The door is closed.";
    asOperator(
      (headers) => fetch("/door", { method: "POST", headers, body: JSON.stringify(wish) }),
      async (answer) => say(find("door-says"), answer.ok ? done : `The door is as it was: ${await refusal(answer)}`),
      () => say(find("door-says"), "The desk cannot be reached: the door is as it was."),
    );
  });
}
