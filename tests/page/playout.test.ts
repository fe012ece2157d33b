import assert from "node:assert/strict";
import { test } from "node:test";
import { Playout } from "#page/audio/playout.ts";

const RATE = 24_000;
const FRAME = 1_920;
const QUANTUM = 128;
const ones = (samples: number) => new Float32Array(samples).fill(1);

/** What is heard in the next `samples`, in the browser's quanta. */
function heard(playout: Playout, samples: number): Float32Array {
  const out = new Float32Array(samples);
  for (let at = 0; at < samples; at += QUANTUM) playout.read(out.subarray(at, at + QUANTUM));
  return out;
}

test("the first audio waits for one frame, so that the next may be as late", () => {
  const playout = new Playout(RATE);
  playout.write(ones(FRAME));
  assert.ok(heard(playout, FRAME).every((sample) => sample === 0));
  playout.write(ones(FRAME));
  assert.ok(heard(playout, FRAME).subarray(120).every((sample) => sample === 1));
  assert.equal(playout.underruns, 0);
});

test("before the first audio there is silence and no underrun", () => {
  const playout = new Playout(RATE);
  assert.ok(heard(playout, FRAME).every((sample) => sample === 0));
  assert.equal(playout.underruns, 0);
});

test("a buffer that runs dry fades out, counts once and waits again", () => {
  const playout = new Playout(RATE);
  playout.write(ones(FRAME));
  heard(playout, 2 * FRAME);
  const after = heard(playout, FRAME);
  assert.equal(playout.underruns, 1);
  assert.ok(after[0]! > 0.9 && after[60]! > 0.4 && after[60]! < 0.6 && after[200] === 0);
  heard(playout, FRAME);
  assert.equal(playout.underruns, 1);
  playout.write(ones(FRAME));
  assert.ok(heard(playout, FRAME).every((sample) => sample === 0));
});

test("a full buffer drops the oldest", () => {
  const playout = new Playout(RATE);
  for (let value = 1; value <= 7; value++) playout.write(new Float32Array(FRAME).fill(value));
  assert.equal(playout.droppedSamples, 2 * FRAME);
  assert.equal(playout.waiting, 5 * FRAME);
  heard(playout, FRAME);
  assert.equal(heard(playout, FRAME)[1_000], 3);
});

test("more than the buffer holds at once leaves the newest of it", () => {
  const playout = new Playout(RATE);
  playout.write(Float32Array.from({ length: 10 * FRAME }, (_, i) => i));
  assert.equal(playout.waiting, 5 * FRAME);
  heard(playout, FRAME);
  assert.equal(heard(playout, QUANTUM * 2)[200], 5 * FRAME + 200);
});

test("what stands unneeded for two seconds is dropped", () => {
  const playout = new Playout(RATE);
  for (let i = 0; i < 4; i++) playout.write(ones(FRAME)); // as after a stall
  for (let i = 0; i < 40; i++) {
    heard(playout, FRAME);
    playout.write(ones(FRAME));
  }
  assert.ok(playout.droppedSamples >= FRAME);
  assert.ok(playout.waiting <= 3 * FRAME);
  assert.equal(playout.underruns, 0);
});
