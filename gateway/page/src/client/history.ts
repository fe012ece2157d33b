/** A session's tokens, one row a step: any worker of the same model can go on from them. */
import { create } from "@bufbuild/protobuf";
import { HistorySchema, type History as Message, type ModelSpec } from "#contract";
import { CodePacker } from "./codes.ts";

/** Steps from which a longer session can be resumed: what the next step looks back to, and what the delays hide. */
const fewestSteps = (model: ModelSpec) => model.contextSteps - 1 + model.delaySteps + Math.max(model.delaySteps, 1);

export class History {
  steps = 0;
  private readonly user: CodePacker;
  private readonly reply: CodePacker;
  private readonly textBytes: number;
  private readonly size: number; // bytes of a row: user codes, text token, model codes
  private readonly capacity: number; // rows; the oldest are dropped
  private readonly rows: Uint8Array; // a ring: step s is row s % capacity

  constructor(
    private readonly model: ModelSpec,
    keptSteps: number,
  ) {
    this.user = new CodePacker(model.userCodebooks, model.cardinality);
    this.reply = new CodePacker(model.modelCodebooks, model.cardinality);
    this.textBytes = Math.ceil((32 - Math.clz32(model.textCardinality - 1)) / 8);
    this.size = this.user.bytes + this.textBytes + this.reply.bytes;
    this.capacity = Math.max(keptSteps, fewestSteps(model));
    this.rows = new Uint8Array(this.capacity * this.size);
  }

  /** Adds a step: the user's packed codes, the reply's text token and its packed codes; 0 and none while delayed. */
  append(user: Uint8Array, textToken: number, reply: Uint8Array): void {
    const row = this.row(this.steps).fill(0);
    row.set(user);
    for (let i = 0; i < this.textBytes; i++) {
      row[this.user.bytes + i] = (textToken >>> (8 * (this.textBytes - 1 - i))) & 0xff;
    }
    row.set(reply, this.user.bytes + this.textBytes);
    this.steps++;
  }

  /** The user's packed codes of a kept step. */
  userCodes(step: number): Uint8Array {
    return this.row(step).slice(0, this.user.bytes);
  }

  /** For `Open`. */
  toMessage(): Message {
    const kept = Math.min(this.steps, this.capacity);
    const rows = new Uint8Array(kept * this.size);
    for (let i = 0; i < kept; i++) rows.set(this.row(this.steps - kept + i), i * this.size);
    const { name, fingerprint } = this.model;
    return create(HistorySchema, { steps: this.steps, rows, model: name, modelFingerprint: fingerprint });
  }

  private row(step: number): Uint8Array {
    const at = (step % this.capacity) * this.size;
    return this.rows.subarray(at, at + this.size);
  }
}
