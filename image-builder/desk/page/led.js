// The LED of a board, as its agent drives it: docs/led-card.md. The drawn ones are small, so that a rack full of them stays below
// the area of flashing light that WCAG 2.3.1 calls safe.

const DARK = [[false, 1000]];
const LIT = [[true, 1000]];
const GAP = [[true, 900], [false, 100]];
const WRITES = [[true, 100], [false, 100]];

const SHOWS_WHICH = ["lit for a second, dark for a second", [[true, 1000], [false, 1000]]];

const OF_STAGE = {
  network: ["1 short blink each second", blinks(1)],
  manifest: ["2 short blinks each second", blinks(2)],
  target: ["2 short blinks each second", blinks(2)],
  flash: ["5 blinks each second", WRITES],
  verify: ["3 short blinks each second", blinks(3)],
  commit: ["3 short blinks each second", blinks(3)],
  "boot-order": ["5 blinks each second", WRITES],
};
const AFTER = ["receipt", "flashed", "already-done"];

function blinks(count) {
  const phases = Array.from({ length: count }, () => [[true, 100], [false, 150]]).flat();
  return [...phases, [false, 1000 - count * 250]];
}

function faultCycle(number) {
  const flicker = Array.from({ length: 10 }, () => [[true, 50], [false, 50]]).flat();
  const slow = Array.from({ length: number }, () => [[true, 500], [false, 500]]).flat();
  return [...flicker, [false, 1000], ...slow, [false, 1000]];
}

// In words, and its phases: lit or dark, for some milliseconds. None if nobody knows.
export function pattern(node) {
  if (["silent", "expected", "stranger"].includes(node.state)) return null;
  if (node.fault !== null) {
    return [`a second of flicker, a pause, then ${node.fault} slow blinks`, faultCycle(Math.min(node.fault, 20))];
  }
  if (node.order?.action === "identify" && node.order.state === "handed") return SHOWS_WHICH;
  if (node.speaker === "node" || AFTER.includes(node.stage)) {
    return node.on_trial ? ["lit, with a short gap each second", GAP] : ["lit", LIT];
  }
  return Object.hasOwn(OF_STAGE, node.stage ?? "") ? OF_STAGE[node.stage] : ["dark", DARK];
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const drawn = new Map();
let still = false;

// Draws it. Who does not want movement sees whether it is ever lit.
export function draw(lamp, node) {
  const [words, phases] = pattern(node) ?? ["", null];
  if (drawn.get(lamp)?.words === words) return;
  drawn.set(lamp, { words, phases });
  play(lamp, phases);
}

export function forget(lamp) {
  drawn.delete(lamp);
}

export function hold(wanted) {
  still = wanted;
  for (const [lamp, { phases }] of drawn) play(lamp, phases);
}

calm.addEventListener("change", () => hold(still));

function play(lamp, phases) {
  for (const animation of lamp.getAnimations()) animation.cancel();
  lamp.dataset.lit = phases === null ? "unknown" : String(phases.some(([lit]) => lit));
  if (phases === null || phases.length === 1 || still || calm.matches) return;
  const cycle = phases.reduce((sum, [, millis]) => sum + millis, 0);
  let at = 0;
  const frames = phases.map(([lit, millis]) => {
    const frame = { offset: at / cycle, opacity: lit ? 1 : 0, easing: "steps(1, end)" };
    at += millis;
    return frame;
  });
  frames.push({ offset: 1, opacity: 0 });
  const animation = lamp.animate(frames, { duration: cycle, iterations: Infinity });
  // All in step, which is calmer.
  animation.startTime = 0;
}
