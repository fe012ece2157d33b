import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ModelSpecSchema, OpenSchema, type ModelSpec } from "#contract";
import { Session } from "#page/client/session.ts";
import { Conversation, type Coder } from "#page/talk/conversation.ts";
import { LateReplyFilter } from "#page/talk/late_replies.ts";
import { Queue } from "#page/talk/queue.ts";
import { CODES, FakeWorker, MODEL } from "./worker.ts";

const FRAME = 1_920;
const sound = (frames: number) => new Float32Array(frames * FRAME).fill(0.5);

/** A codec that notes what it is asked for. */
class FakeCodec {
  readonly done: string[] = [];
  readonly manifest = { sample_rate_hz: 24_000, frame_samples: FRAME, codebooks: 8 } as Coder["manifest"];

  encode(pcm: Float32Array): Promise<Int32Array> {
    this.done.push(pcm.some((sample) => sample !== 0) ? "sound" : "silence");
    return Promise.resolve(CODES);
  }

  decode(): Promise<Float32Array> {
    this.done.push("decoded");
    return Promise.resolve(sound(1));
  }

  resetEncoder(): void {
    this.done.push("reset");
  }
}

async function heard(frames: number, model: ModelSpec = MODEL, muted = false) {
  const worker = new FakeWorker();
  worker.model = model;
  const codec = new FakeCodec();
  const played: number[] = [];
  const texts: string[] = [];
  const play = (pcm: Float32Array) => void played.push(pcm.length);
  const conversation = new Conversation(codec, 24_000, muted, play, (text) => texts.push(text), () => undefined);
  const owner = { reply: conversation.reply.bind(conversation), reconnecting() {}, resumed() {}, failed() {} };
  const session = await Session.open(create(OpenSchema, {}), owner, worker.dial, () => 0);
  const run = conversation.run(session);
  conversation.hear(sound(frames));
  for (let i = 0; i < 200 * frames; i++) await Promise.resolve();
  conversation.end();
  await run;
  await session.abandon();
  return { codec, played, texts, status: conversation.status, sent: worker.last.frames.length };
}

test("what is said goes up frame by frame, and what is answered is heard and read", async () => {
  const { codec, played, texts, status, sent } = await heard(3);
  assert.deepEqual([sent, played, texts], [3, [FRAME, FRAME], [".", "."]]); // the first reply is held back
  assert.deepEqual([status.framesUp, status.framesDown, status.lateReplies], [3, 2, 0]);
  assert.equal(codec.done.filter((what) => what === "sound").length, 3);
});

test("the encoder starts again after the first frame, which no model hears", async () => {
  const { codec } = await heard(3);
  assert.deepEqual(codec.done.indexOf("reset"), 1);
  assert.equal(codec.done.filter((what) => what === "reset").length, 1);
});

test("but not for a model that takes a voice: its first steps are its prompt's", async () => {
  const { codec } = await heard(3, create(ModelSpecSchema, { ...MODEL, takesVoice: true }));
  assert.ok(!codec.done.includes("reset"));
});

test("a model that only listens gets silence first, and its first frame is nothing that is said", async () => {
  const listening = { ...MODEL, modelCodebooks: 0, silenceBeforeMs: 160 };
  const { codec, sent } = await heard(2, create(ModelSpecSchema, listening));
  assert.deepEqual(codec.done.filter((what) => what !== "reset"), ["silence", "silence", "silence", "sound", "sound"]);
  assert.equal(sent, 5);
});

test("muted, silence goes up", async () => {
  const { codec } = await heard(2, MODEL, true);
  assert.ok(!codec.done.includes("sound"));
});

test("a reply that comes much later than the fastest of the last ones is late", () => {
  const filter = new LateReplyFilter();
  assert.deepEqual([100, 90, 330, 331, 100].map((ms) => filter.isLate(ms)), [false, false, false, true, false]);
});

test("a network that is slow but steady is not late", () => {
  const filter = new LateReplyFilter();
  filter.isLate(50);
  for (let i = 0; i < 60; i++) filter.isLate(400);
  assert.equal(filter.isLate(410), false);
});

test("of more than a queue holds the oldest go", async () => {
  const queue = new Queue<number>(2);
  for (const item of [1, 2, 3]) queue.put(item);
  assert.deepEqual([await queue.take(), await queue.take(), queue.dropped], [2, 3, 1]);
  queue.close();
  assert.equal(await queue.take(), undefined);
});
