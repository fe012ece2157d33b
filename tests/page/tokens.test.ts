import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ConverseResponseSchema } from "#contract";
import { CodePacker } from "#page/client/codes.ts";
import { EdgeError } from "#page/client/errors.ts";
import { History } from "#page/client/history.ts";
import { Journal, type Reply } from "#page/client/journal.ts";
import { CODES, LIMITS, MODEL } from "./worker.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("eight codes of 2,048 take 11 bytes, high bit first", () => {
  const packer = new CodePacker(8, 2_048);
  assert.equal(hex(packer.pack(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 2_047))), "0020080180400a01803fff");
  assert.deepEqual(packer.unpack(packer.pack(CODES)), CODES);
});

test("codes of few bits are padded with zeros", () => {
  const packer = new CodePacker(3, 5);
  assert.equal(hex(packer.pack(Int32Array.of(1, 2, 4))), "2a00");
});

test("a reply of another length or with a code out of range breaks the contract", () => {
  const packer = new CodePacker(3, 5);
  assert.throws(() => packer.unpack(new Uint8Array(3)), EdgeError);
  assert.throws(() => packer.unpack(Uint8Array.of(0xff, 0)), /code 7 of codebook 0/);
});

test("a row is the user's codes, the text token and the model's codes", () => {
  const history = new History(MODEL, 8);
  const packed = new CodePacker(8, 2_048).pack(CODES);
  history.append(packed, 0x1234, packed);
  const { steps, rows, model } = history.toMessage();
  assert.deepEqual([steps, model], [1, "stub"]);
  assert.equal(hex(rows), `${hex(packed)}1234${hex(packed)}`);
});

test("a history keeps its last steps, oldest first, and as many as the model looks back to", () => {
  const history = new History(MODEL, 2);
  const kept = MODEL.contextSteps - 1 + 2 * MODEL.delaySteps;
  for (let step = 0; step < kept + 5; step++) history.append(new Uint8Array(11), step, new Uint8Array(0));
  const { steps, rows } = history.toMessage();
  assert.deepEqual([steps, rows.length], [kept + 5, kept * 24]);
  assert.deepEqual([rows[12], rows[rows.length - 12]], [5, kept + 4]);
});

function journal(backlog = 3) {
  const replies: Reply[] = [];
  const kept = new Journal(MODEL, LIMITS, backlog, (reply) => replies.push(reply), () => 0);
  return { kept, replies };
}

test("replies are held back by the model's delay, then have text and codes", () => {
  const { kept, replies } = journal();
  const codes = new CodePacker(8, 2_048).pack(CODES);
  for (let i = 0; i < 2; i++) {
    kept.append(CODES);
    kept.send(i);
    kept.answer(create(ConverseResponseSchema, i ? { codes, text: " hi", textToken: 7 } : {}));
  }
  assert.deepEqual(replies.map(({ text, codes }) => [text, codes?.[7]]), [["", undefined], [" hi", CODES[7]]]);
  assert.equal(kept.history.steps, 2);
});

test("while nobody hears, the newest frames are kept and the older ones dropped", () => {
  const { kept } = journal(3);
  kept.append(CODES);
  kept.send(0); // it may have been heard: it is sent again
  for (let i = 1; i <= 5; i++) kept.append(CODES.map((code) => code + i));
  assert.deepEqual([kept.droppedFrames, kept.inFlight, kept.nextNumber], [2, 4, 4]);
  assert.deepEqual(new CodePacker(8, 2_048).unpack(kept.send(1)), CODES.map((code) => code + 3));
});

test("a text token that the model does not have breaks the contract", () => {
  const { kept } = journal();
  kept.append(CODES);
  kept.answer(create(ConverseResponseSchema, {}));
  kept.append(CODES);
  assert.throws(() => kept.answer(create(ConverseResponseSchema, { textToken: 70_000 })), /text token 70000/);
});
