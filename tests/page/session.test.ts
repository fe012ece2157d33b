import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ModelSpecSchema, OpenSchema } from "#contract";
import { EdgeError, unavailable } from "#page/client/errors.ts";
import { Session } from "#page/client/session.ts";
import { CODES, FakeWorker, MODEL } from "./worker.ts";

let nowMs = 0;
beforeEach(() => {
  nowMs = 0;
  mock.timers.enable({ apis: ["setTimeout"] });
});
afterEach(() => mock.timers.reset());

/** Lets everything that waits for nothing but the others happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

async function pass(ms: number): Promise<void> {
  await settle();
  for (let left = ms; left > 0; left -= 100) {
    nowMs += Math.min(100, left);
    mock.timers.tick(Math.min(100, left));
    await settle();
  }
}

async function opened(worker = new FakeWorker()) {
  const told: string[] = [];
  let replies = 0;
  const owner = {
    reply: () => void replies++,
    reconnecting: (reason: string) => void told.push(`reconnecting: ${reason}`),
    resumed: (_: number, rebuilt: number) => void told.push(`resumed ${rebuilt}`),
    failed: (error: EdgeError) => void told.push(`failed: ${error.message}`),
  };
  const session = await Session.open(create(OpenSchema, { seed: 7n }), owner, worker.dial, () => nowMs);
  return { worker, session, told, replies: () => replies };
}

async function say(session: Session, frames: number): Promise<void> {
  for (let i = 0; i < frames; i++) {
    session.send(CODES);
    await settle();
  }
}

test("each frame has its reply", async () => {
  const { worker, session, replies, told } = await opened();
  await say(session, 5);
  assert.deepEqual([worker.last.frames.length, replies(), told], [5, 5, []]);
});

test("a lost call is followed by another, with the history and the frames that were not answered", async () => {
  const { worker, session, replies, told } = await opened();
  await say(session, 5);
  worker.silent = true;
  await say(session, 2);
  worker.silent = false;
  worker.last.break();
  await settle();
  await pass(100);
  await say(session, 1);
  assert.equal(worker.last.open.history?.steps, 5);
  assert.deepEqual([...worker.last.open.resumeToken], [1]);
  assert.deepEqual([worker.last.frames.length, replies(), session.resumptions], [3, 8, 1]);
  assert.deepEqual(told, ["reconnecting: the connection was lost", "resumed 5"]);
});

test("a worker that is away is tried until it is back", async () => {
  const { worker, session, told, replies } = await opened();
  await say(session, 3);
  worker.refusals = [unavailable("nobody answers"), new EdgeError("RESOURCE_EXHAUSTED", "it is full", 1_000)];
  worker.last.break();
  await pass(4_000);
  await say(session, 1);
  const reasons = ["the connection was lost", "nobody answers", "it is full"];
  assert.deepEqual(told, [...reasons.map((reason) => `reconnecting: ${reason}`), "resumed 3"]);
  assert.equal(replies(), 4);
});

test("a worker that is away for longer than the patience ends the session", async () => {
  const { worker, session, told } = await opened();
  await say(session, 1);
  worker.refusals = Array.from({ length: 1_000 }, () => unavailable("nobody answers"));
  worker.last.break();
  await pass(310_000);
  assert.equal(told.at(-1), "failed: nobody answers");
});

test("while nothing answers for three seconds another call is opened, and both get the frames", async () => {
  const { worker, session, told, replies } = await opened();
  await say(session, 3);
  worker.silent = true;
  await say(session, 1);
  const stalled = worker.last;
  worker.silent = false;
  await pass(3_100);
  assert.deepEqual(told, ["reconnecting: the worker does not answer", "resumed 3"]);
  assert.notEqual(worker.last, stalled);
  assert.deepEqual([replies(), stalled.left], [4, true]);
});

test("a stream that answers again is kept", async () => {
  const { worker, session, told } = await opened();
  await say(session, 3);
  worker.silent = true;
  await say(session, 1);
  worker.refusals = [unavailable("nobody answers")];
  await pass(3_000);
  worker.last.answer();
  worker.silent = false;
  await pass(100);
  await say(session, 1);
  assert.equal(worker.calls.length, 1);
  assert.equal(told.at(-1), "resumed 0");
});

test("a session that is asked to move goes on in another call before it leaves the first", async () => {
  const { worker, session, told, replies } = await opened();
  await say(session, 3);
  const first = worker.last;
  first.goAway();
  await pass(100);
  await say(session, 2);
  assert.deepEqual([worker.calls.length, first.left, replies()], [2, true, 5]);
  assert.deepEqual(told, ["reconnecting: the worker drains", "resumed 3"]);
});

test("what another attempt would meet again ends the session", async () => {
  const { worker, session, told } = await opened();
  await say(session, 1);
  worker.last.break(new EdgeError("UNAUTHENTICATED", "the worker does not know the key"));
  await settle();
  assert.deepEqual(told, ["failed: the worker does not know the key"]);
});

test("another model at the same address ends the session", async () => {
  const { worker, session, told } = await opened();
  await say(session, 1);
  worker.model = create(ModelSpecSchema, { ...MODEL, fingerprint: new Uint8Array(32).fill(1) });
  worker.last.break();
  await pass(100);
  assert.match(told.at(-1)!, /^failed: the worker serves another model now/);
  assert.ok(worker.last.left);
});

test("a reply to nothing breaks the contract", async () => {
  const { worker, session, told } = await opened();
  await say(session, 1);
  worker.last.answer();
  await settle();
  assert.match(told.at(-1)!, /^failed: the worker answered frame 1 out of turn/);
});

test("the first call is not tried again", async () => {
  const worker = new FakeWorker();
  worker.refusals = [unavailable("nobody answers")];
  await assert.rejects(opened(worker), /nobody answers/);
  assert.equal(worker.calls.length, 0);
});

test("a session that is left says so, also while it looks for another worker", async () => {
  const { worker, session, told } = await opened();
  await say(session, 1);
  worker.refusals = Array.from({ length: 9 }, () => unavailable("nobody answers"));
  worker.last.break();
  await pass(200);
  const before = told.length;
  await session.abandon();
  await pass(5_000);
  assert.deepEqual([told.length, worker.last.left], [before, true]);
});

test("a thousand calls later nothing has grown", async () => {
  const { worker, session, replies } = await opened();
  for (let i = 0; i < 1_000; i++) {
    await say(session, 1);
    worker.last.break();
    await pass(100);
    worker.calls.splice(0, worker.calls.length - 1);
  }
  await say(session, 1);
  assert.deepEqual([session.resumptions, replies(), session.journal.inFlight], [1_000, 1_001, 0]);
  assert.equal(session.journal.history.toMessage().rows.length, 64 * 24);
});
