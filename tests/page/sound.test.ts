import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameBuffer } from "#page/audio/frames.ts";
import { dbfs, FLOOR_DBFS, Mute } from "#page/audio/level.ts";

test("blocks of any length become frames of one", () => {
  const buffer = new FrameBuffer(4);
  const numbers = (from: number, to: number) => Float32Array.from({ length: to - from }, (_, i) => from + i);
  assert.deepEqual(buffer.push(numbers(0, 3)), []);
  assert.deepEqual(buffer.push(numbers(3, 9)), [numbers(0, 4), numbers(4, 8)]);
  assert.deepEqual(buffer.push(numbers(9, 12)), [numbers(8, 12)]);
});

test("a level is that of the loudest sample, and has a floor", () => {
  assert.equal(dbfs(new Float32Array(8)), FLOOR_DBFS);
  assert.ok(Math.abs(dbfs(Float32Array.of(0.1, -0.5, 0.2)) + 6.02) < 0.01);
});

test("muted, the model hears silence after a fade, and unmuted what is said", () => {
  const mute = new Mute();
  const frame = () => new Float32Array(1_920).fill(1);
  assert.deepEqual(mute.apply(frame()), frame());
  mute.muted = true;
  const turning = mute.apply(frame());
  assert.ok(turning[0] === 1 && turning[120]! > 0 && turning[120]! < 1 && turning[240] === 0);
  assert.ok(mute.apply(frame()).every((sample) => sample === 0));
  mute.muted = false;
  assert.equal(mute.apply(frame())[1_919], 1);
  assert.deepEqual(mute.apply(frame()), frame());
});

test("a session that begins muted says nothing", () => {
  assert.ok(new Mute(true).apply(new Float32Array(8).fill(1)).every((sample) => sample === 0));
});
