// Asks its own server every two seconds how it is, and keeps the last minutes for its two lines.
"use strict";

const EVERY_MS = 2000;
const KEPT = 120; // looks: 4 minutes
const seen = { sessions: [], step: [] };

const at = (id) => document.getElementById(id);
const write = (id, text) => (at(id).textContent = text);
const count = (number) => number.toLocaleString("en");

function draw(id, values, top) {
  const points = values.map((value, index) => `${KEPT - values.length + index},${31 - (30 * value) / (top || 1)}`);
  at(id).firstElementChild.setAttribute("points", points.join(" "));
}

function keep(values, value) {
  values.push(value);
  if (values.length > KEPT) values.shift();
}

function show(status) {
  write("model", status.model || "…");
  write("state", status.state);
  at("state").className = status.state;
  write("kind", status.kind);
  write("version", status.version);
  document.title = `${status.sessions}/${status.slots} · Antiphon`;
  write("sessions", status.sessions);
  write("slots", status.slots);
  at("used").value = status.slots ? status.sessions / status.slots : 0;
  at("steps").hidden = status.kind !== "worker";
  write("p50", status.step_p50_ms.toFixed(1));
  write("p99", status.step_p99_ms.toFixed(1));
  at("step").value = status.step_p99_ms;
  write("frames", count(status.frames));
  const share = status.frames ? (100 * status.late) / status.frames : 0;
  write("late", `${count(status.late)} (${share.toFixed(2)} %)`);
  write("refused", count(status.refused));
  keep(seen.sessions, status.sessions);
  keep(seen.step, status.step_p99_ms);
  draw("sessions-line", seen.sessions, status.slots);
  draw("step-line", seen.step, Math.max(80, ...seen.step));
}

async function look() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    show(await answer.json());
    write("problem", "");
  } catch {
    write("problem", "No answer: what is shown is what was last known.");
  }
  setTimeout(look, EVERY_MS);
}

look();
