import assert from "node:assert/strict";
import { test } from "node:test";
import { Resampler } from "#page/audio/resampler.ts";

const tone = (hz: number, rateHz: number, samples: number) =>
  Float32Array.from({ length: samples }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rateHz));

const joined = (blocks: Float32Array[]) => Float32Array.from(blocks.flatMap((block) => [...block]));

/** Decibels of the difference from a tone of the same frequency, away from the beginning. */
function errorDb(out: Float32Array, hz: number, rateHz: number, delay = 0): number {
  const ideal = tone(hz, rateHz, out.length + delay);
  let sum = 0;
  for (let i = 500; i < out.length; i++) sum += (out[i]! - ideal[i + delay]!) ** 2;
  return 10 * Math.log10((2 * sum) / (out.length - 500));
}

const RATES = [[48_000, 24_000], [44_100, 24_000], [24_000, 48_000], [24_000, 44_100], [16_000, 24_000]] as const;

for (const [fromHz, toHz] of RATES) {
  test(`a tone keeps its place and its strength from ${fromHz} to ${toHz} Hz`, () => {
    const out = new Resampler(fromHz, toHz).push(tone(1_000, fromHz, fromHz / 4));
    assert.ok(errorDb(out, 1_000, toHz) < -70, `${errorDb(out, 1_000, toHz)} dB`);
  });
}

test("the sizes of blocks do not change a sample", () => {
  const sound = tone(440, 44_100, 10_000);
  const stream = new Resampler(44_100, 24_000);
  const parts = [0, 1, 130, 131, 641, 5_000, 10_000];
  const out = joined(parts.slice(1).map((end, i) => stream.push(sound.subarray(parts[i], end))));
  const whole = new Resampler(44_100, 24_000).push(sound);
  assert.equal(out.length, whole.length);
  assert.ok(out.every((sample, i) => Math.abs(sample - whole[i]!) < 1e-5));
});

test("what the lower rate cannot hold is not heard", () => {
  const out = new Resampler(48_000, 24_000).push(tone(14_000, 48_000, 24_000));
  assert.ok(out.subarray(500).every((sample) => Math.abs(sample) < 1e-3));
});

test("as much comes out as went in", () => {
  const stream = new Resampler(44_100, 24_000);
  let out = 0;
  for (let i = 0; i < 1_000; i++) out += stream.push(new Float32Array(441)).length;
  assert.ok(Math.abs(out - 240_000) < 60, `${out} samples of 10 s`);
});

test("one rate alone is passed through", () => {
  const sound = tone(440, 24_000, 100);
  assert.equal(new Resampler(24_000, 24_000).push(sound), sound);
});

test("no rate is refused", () => assert.throws(() => new Resampler(0, 24_000), RangeError));
