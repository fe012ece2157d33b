/** The edge, in a thread of its own: the page may be busy or hidden, and the conversation goes on. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { GetModelResponseSchema, OpenSchema, PromptSchema } from "#contract";
import type { PlayoutReport } from "../audio/worklet.ts";
import { EdgeError } from "../client/errors.ts";
import { Session } from "../client/session.ts";
import { Codec } from "../codec/codec.ts";
import { fetchManifest, reason } from "../codec/files.ts";
import { Conversation } from "./conversation.ts";
import type { Choices, Event, Request, Served } from "./messages.ts";

const TRANSCRIBER = "antiphon-transcriber"; // a header: the gateway was given one

let base: URL; // of what the gateway serves: the dialogue's worker, or the transcriber's
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
      return load(new URL(request.base), request.listens);
    case "talk":
      return talk(request);
    case "mute":
      if (conversation) conversation.mute.muted = request.muted;
      return;
    case "end":
      return end();
  }
}

async function load(from: URL, listens: boolean): Promise<void> {
  base = from;
  const [served, manifest] = await Promise.all([fetchServed(), fetchManifest(new URL("codec/", base))]);
  codec = await Codec.load(new URL("codec/", base), manifest, !listens);
  busy = codec.warmUp();
  tell({ kind: "loaded", served });
  await busy;
}

async function fetchServed(): Promise<Served> {
  const response = await fetch(new URL("model", base));
  if (!response.ok) throw new Error(await reason(response, "the model"));
  const { model, voices } = fromBinary(GetModelResponseSchema, new Uint8Array(await response.arrayBuffer()));
  if (!model) throw new Error("the worker does not say what it serves");
  const { name, takesVoice, takesText, randomWeights } = model;
  return { model: name, voices, takesVoice, takesText, randomWeights, transcribed: response.headers.has(TRANSCRIBER) };
}

async function talk({ microphone, speaker, rateHz, choices, muted }: Extract<Request, { kind: "talk" }>): Promise<void> {
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
  const url = new URL("frames", base);
  url.protocol = url.protocol.replace("http", "ws");
  const opened = await Session.open(url.href, opening(choices), {
    reply: (reply) => talking.reply(reply),
    reconnecting: (reason) => tell({ kind: "reconnecting", reason }),
    resumed: (afterMs, rebuiltSteps) => tell({ kind: "resumed", afterMs, rebuiltSteps }),
    failed: (error) => fail(error.message),
  });
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
  const open = create(OpenSchema, { codecFingerprint: codec.fingerprint, seed });
  if (voice || persona) open.prompt = create(PromptSchema, { voices: voice ? [voice] : [], text: persona });
  return open;
}

function checkCodec(heard: number): void {
  if (codec.manifest.codebooks >= heard) return;
  throw new EdgeError("FAILED_PRECONDITION", `the codec makes ${codec.manifest.codebooks} codebooks, the model hears ${heard}`);
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
