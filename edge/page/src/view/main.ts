/** The page: one talk button, and what a person sees, hears and chooses beside it. */
import type { Choices, Event, Status } from "../talk/messages.ts";
import { Edge } from "./edge.ts";
import { Sound } from "./sound.ts";
import { Transcript } from "./transcript.ts";

type State = "loading" | "idle" | "connecting" | "talking" | "reconnecting" | "broken";

const WORDS: Record<State, string> = {
  loading: "Loading the codec…",
  idle: "Ready.",
  connecting: "Connecting…",
  talking: "Talking.",
  reconnecting: "Reconnecting…",
  broken: "",
};

const find = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const talkButton = find<HTMLButtonElement>("talk");
const muteButton = find<HTMLButtonElement>("mute");
const voice = find<HTMLSelectElement>("voice");
const persona = find<HTMLTextAreaElement>("persona");
const choices = find<HTMLFieldSetElement>("choices");
const transcript = new Transcript(find("transcript"));

let state: State = "loading";
let muted = false;
let sound: Sound | undefined;

const edge = new Edge("v1/", false, onEvent);

function enter(next: State, words = WORDS[next]): void {
  state = next;
  document.body.dataset.state = next;
  find("state").textContent = words;
  const busy = next === "connecting" || next === "talking" || next === "reconnecting";
  talkButton.disabled = next === "loading" || next === "broken";
  talkButton.textContent = busy ? "Stop" : "Talk";
  muteButton.disabled = !busy;
  choices.disabled = busy;
}

function onEvent(event: Event): void {
  switch (event.kind) {
    case "loaded":
      find("model").textContent = event.served.model + (event.served.randomWeights ? " (never trained: noise)" : "");
      voice.append(...event.served.voices.map((name) => new Option(name)));
      find("voices").hidden = !event.served.takesVoice || !event.served.voices.length;
      find("personas").hidden = !event.served.takesText;
      choices.hidden = find("voices").hidden && find("personas").hidden;
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
      return enter(state === "loading" ? "broken" : "idle", `${event.message.replace(/\.?$/, ".")}`);
    case "ended":
      return enter("idle");
  }
}

function show({ microphoneDbfs, speakerDbfs, roundTripMs, lagMs, playout, lateReplies }: Status): void {
  find<HTMLMeterElement>("microphone").value = microphoneDbfs;
  find<HTMLMeterElement>("speaker").value = speakerDbfs;
  find("round-trip").textContent = `${Math.round(roundTripMs)} ms`;
  find("lag").textContent = `${Math.round(lagMs)} ms`;
  find("losses").textContent = String(playout.underruns + lateReplies);
}

async function talk(): Promise<void> {
  transcript.clear();
  enter("connecting");
  try {
    sound = await Sound.open(() => enter(state, "The microphone is gone: connect one."));
  } catch (error) {
    return enter("idle", (error as Error).message);
  }
  if (state !== "connecting") return silence(); // stopped meanwhile
  const { microphone, speaker, rateHz } = sound;
  const chosen: Choices = { voice: voice.value, persona: persona.value.trim() };
  edge.tell({ kind: "talk", microphone, speaker, rateHz, choices: chosen, muted }, [microphone, speaker]);
}

async function silence(): Promise<void> {
  const open = sound;
  sound = undefined;
  await open?.close();
}

async function stop(): Promise<void> {
  edge.tell({ kind: "end" });
  enter("idle", "Stopped.");
  await silence();
}

function turnMute(): void {
  muted = !muted;
  muteButton.setAttribute("aria-pressed", String(muted));
  edge.tell({ kind: "mute", muted });
}

talkButton.onclick = () => void (state === "idle" ? talk() : stop());
muteButton.onclick = turnMute;
document.onkeydown = ({ key, target, ctrlKey, metaKey, altKey }) => {
  const typing = target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
  if (typing || ctrlKey || metaKey || altKey) return;
  if (key === "m" && !muteButton.disabled) turnMute();
  if (key === "Escape" && state !== "idle" && !talkButton.disabled) void stop();
};
document.onvisibilitychange = () => void sound?.wake();
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (document.getElementById("state")?.textContent?.startsWith("The microphone is gone")) {
    void sound?.listen(() => enter(state, "The microphone is gone: connect one.")).then(() => enter(state));
  }
});
enter("loading");
