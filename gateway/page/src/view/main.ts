/** The page: one talk button, and what a person sees, hears and chooses beside it. */
import type { Event, Served, Status } from "../talk/messages.ts";
import { Edge } from "./edge.ts";
import { Sound } from "./sound.ts";
import { Transcript } from "./transcript.ts";

type State = "loading" | "locked" | "idle" | "connecting" | "talking" | "reconnecting" | "broken";

const WORDS: Record<State, string> = {
  loading: "Loading the codec…",
  locked: "",
  idle: "Ready.",
  connecting: "Connecting…",
  talking: "Talking.",
  reconnecting: "Reconnecting…",
  broken: "",
};

const NO_MICROPHONE = "The microphone is gone: connect one.";

const find = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const talkButton = find<HTMLButtonElement>("talk");
const muteButton = find<HTMLButtonElement>("mute");
const voice = find<HTMLSelectElement>("voice");
const door = find<HTMLFormElement>("door");
const key = find<HTMLInputElement>("key");
const persona = find<HTMLTextAreaElement>("persona");
const transcript = new Transcript(find("transcript"));

let state: State = "loading";
let muted = false;
let sound: Sound | undefined;
let transcriber: Edge | undefined;
const dialogue = new Edge("", false, onEvent);

function enter(next: State, words = WORDS[next]): void {
  state = next;
  document.body.dataset.state = next;
  find("state").textContent = words;
  const busy = next === "connecting" || next === "talking" || next === "reconnecting";
  talkButton.disabled = !busy && next !== "idle";
  door.hidden = next !== "locked";
  talkButton.textContent = busy ? "Stop" : "Talk";
  muteButton.disabled = !busy;
  find<HTMLFieldSetElement>("choices").disabled = busy;
}

function onEvent(event: Event): void {
  switch (event.kind) {
    case "locked":
      enter("locked", `This gateway needs a key: ${event.message}.`);
      return key.focus();
    case "loaded":
      offer(event.served);
      return enter("idle");
    case "connected":
      return enter("talking");
    case "text":
      return transcript.add("model", event.text);
    case "status":
      return show(event.status);
    case "reconnecting":
      return enter("reconnecting", `Reconnecting: ${event.reason}.`);
    case "resumed":
      return enter("talking", `Talking: resumed after ${(event.afterMs / 1e3).toFixed(1)} s.`);
    case "failed":
      void silence();
      return enter(state === "loading" ? "broken" : "idle", event.message.replace(/\.?$/, "."));
  }
}

/** The model's name, and the choices that it gives. */
function offer({ model, randomWeights, voices, takesVoice, takesText, transcribed }: Served): void {
  find("model").textContent = model + (randomWeights ? " (never trained: noise)" : "");
  voice.append(...voices.map((name) => new Option(name)));
  find("voices").hidden = !takesVoice || !voices.length;
  find("personas").hidden = !takesText;
  find("choices").hidden = find("voices").hidden && find("personas").hidden;
  if (transcribed) {
    const listener = new Edge("transcriber/", true, (event) => {
      if (event.kind === "text") transcript.add("person", event.text);
      if (event.kind === "loaded") transcriber = listener; // the conversation goes on without
    });
    listener.load(key.value);
  }
}

function show({ microphoneDbfs, speakerDbfs, roundTripMs, lagMs, playout, lateReplies }: Status): void {
  find<HTMLMeterElement>("microphone").value = microphoneDbfs;
  find<HTMLMeterElement>("speaker").value = speakerDbfs;
  find("round-trip").textContent = `${Math.round(roundTripMs)} ms`;
  find("lag").textContent = `${Math.round(lagMs)} ms`;
  find("gaps").textContent = String(playout.underruns + lateReplies);
}

async function talk(): Promise<void> {
  transcript.clear();
  enter("connecting");
  try {
    const opened = await Sound.open((there) => enter(state, there ? WORDS[state] : NO_MICROPHONE));
    if (state !== "connecting") return await opened.close(); // stopped meanwhile
    sound = opened;
  } catch (error) {
    return enter("idle", (error as Error).message);
  }
  dialogue.talk(sound, voice.value, persona.value.trim(), muted);
  transcriber?.talk(sound, "", "", muted);
}

async function silence(): Promise<void> {
  const open = sound;
  sound = undefined;
  transcriber?.end();
  await open?.close();
}

async function stop(): Promise<void> {
  dialogue.end();
  enter("idle", "Stopped.");
  await silence();
}

function turnMute(): void {
  muted = !muted;
  muteButton.setAttribute("aria-pressed", String(muted));
  dialogue.mute(muted);
  transcriber?.mute(muted);
}

talkButton.onclick = () => void (state === "idle" ? talk() : stop());
muteButton.onclick = turnMute;
document.onkeydown = ({ key, target, ctrlKey, metaKey, altKey }) => {
  const typing = target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
  if (typing || ctrlKey || metaKey || altKey || muteButton.disabled) return;
  if (key === "m") turnMute();
  if (key === "Escape") void stop();
};
document.onvisibilitychange = () => void sound?.wake();
door.onsubmit = (event) => {
  event.preventDefault();
  load();
};

function load(): void {
  enter("loading");
  dialogue.load(key.value);
}

load();
