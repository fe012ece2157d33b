/** The edge, in a thread of its own: the page may be busy or hidden, and the conversation goes on. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { GetModelResponseSchema, OpenSchema, PromptSchema } from "#contract";
import type { PlayoutReport } from "../audio/worklet.ts";
import { Access } from "../client/access.ts";
import { Call } from "../client/call.ts";
import { EdgeError } from "../client/errors.ts";
import type { Reply } from "../client/journal.ts";
import { Session } from "../client/session.ts";
import { Codec } from "../codec/codec.ts";
import { Conversation } from "./conversation.ts";
import type { Choices, Event, Request, Served } from "./messages.ts";

const TRANSCRIBER = "antiphon-transcriber"; // a header: the gateway was given one

let access: Access; // to the dialogue's worker, or to the transcriber's
let codec: Codec;
let conversation: Conversation | undefined;
let session: Session | undefined;
let busy: Promise<void> = Promise.resolve(); // while the codec runs for what was there before

const tell = (event: Event) => self.postMessage(event);

self.onmessage = ({ data }: MessageEvent<Request>) => {
  const done = handle(data);
  done.catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));
};

async function handle(request: Request): Promise<void> {
  switch (request.kind) {
    case "load":
      return load(request);
    case "talk":
      return talk(request);
    case "mute":
      if (conversation) conversation.mute.muted = request.muted;
      return;
    case "end":
      return end();
  }
}

async function load({ root, path, key, listens }: Extract<Request, { kind: "load" }>): Promise<void> {
  access = new Access(new URL(root), path, key);
  let served: Served;
  try {
    served = await fetchServed();
  } catch (error) {
    if (!(error instanceof EdgeError) || error.status !== "UNAUTHENTICATED") throw error;
    return tell({ kind: "locked", message: error.message });
  }
  codec = await Codec.load(access, !listens);
  busy = codec.warmUp();
  tell({ kind: "loaded", served });
  await busy;
}

async function fetchServed(): Promise<Served> {
  const response = await access.fetch(new URL("model", access.base));
  const { model, voices } = fromBinary(GetModelResponseSchema, new Uint8Array(await response.arrayBuffer()));
  if (!model) throw new Error("the worker does not say what it serves");
  const { name, takesVoice, takesText, randomWeights } = model;
  return { model: name, voices, takesVoice, takesText, randomWeights, transcribed: response.headers.has(TRANSCRIBER) };
}

async function talk(request: Extract<Request, { kind: "talk" }>): Promise<void> {
  const { microphone, speaker, rateHz, choices, muted } = request;
  const talking = new Conversation(
    codec,
    rateHz,
    muted,
    (pcm) => speaker?.postMessage(pcm, [pcm.buffer as ArrayBuffer]),
    (text) => tell({ kind: "text", text }),
    (status) => tell({ kind: "status", status }),
  );
  conversation = talking;
  // What is said before the session is there, nobody hears.
  microphone.onmessage = ({ data }: MessageEvent<Float32Array>) => session && talking.hear(data);
  await busy.catch(() => undefined); // of the conversation before, which has failed for itself
  if (conversation !== talking) return; // it was ended meanwhile
  codec.reset();
  const owner = {
    reply: (reply: Reply) => talking.reply(reply),
    reconnecting: (reason: string) => tell({ kind: "reconnecting", reason }),
    resumed: (afterMs: number, rebuiltSteps: number) => tell({ kind: "resumed", afterMs, rebuiltSteps }),
    failed: (error: EdgeError) => fail(error.message),
  };
  const opened = await Session.open(opening(choices), owner, async (open, signal) =>
    Call.dial(await access.callUrl(), open, signal),
  );
  if (conversation !== talking) return opened.abandon();
  session = opened;
  checkCodec(opened.model.userCodebooks);
  tell({ kind: "connected", session: opened.id });
  if (speaker) speaker.onmessage = ({ data }: MessageEvent<PlayoutReport>) => (talking.status.playout = data);
  busy = talking.run(opened);
  await busy;
}

function opening({ voice, persona }: Choices) {
  const seed = crypto.getRandomValues(new BigUint64Array(1))[0]! >> 1n;
  const conversation = crypto.randomUUID().replaceAll("-", ""); // for the logs of all workers that carry it
  const open = create(OpenSchema, { codecFingerprint: codec.fingerprint, seed, conversation });
  if (voice || persona) open.prompt = create(PromptSchema, { voices: voice ? [voice] : [], text: persona });
  return open;
}

function checkCodec(heard: number): void {
  if (codec.manifest.codebooks >= heard) return;
  const made = codec.manifest.codebooks;
  throw new EdgeError("FAILED_PRECONDITION", `the codec makes ${made} codebooks, the model hears ${heard}`);
}

async function end(): Promise<void> {
  const left = session;
  conversation?.end();
  conversation = session = undefined;
  await left?.abandon();
}

function fail(message: string): void {
  tell({ kind: "failed", message });
  void end();
}
