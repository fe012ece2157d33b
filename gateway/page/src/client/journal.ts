/** What a session said and what was answered: the part of it that outlives its streams. No network. */
import type { ConverseResponse, Limits, ModelSpec } from "#contract";
import { CodePacker } from "./codes.ts";
import { brokenContract } from "./errors.ts";
import { History } from "./history.ts";

export interface Reply {
  sequence: number;
  codes?: Int32Array; // [modelCodebooks]; absent while the delays hold it back, and where there is no sound
  text: string;
  roundTripMs: number; // from the frame's making, however often it was sent, to the reply
}

interface Frame {
  packed: Uint8Array;
  appendedMs: number;
}

export class Journal {
  readonly history: History;
  /** Frames that were never sent. */
  droppedFrames = 0;
  private readonly user: CodePacker;
  private readonly packer: CodePacker;
  private readonly frames: Frame[] = []; // unanswered, from number history.steps on
  private sent = 0; // frames below this number have been on their way at least once

  /**
   * @param model whose tokens they are.
   * @param limits of the worker that the session began on.
   * @param backlog frames that are kept while no stream takes them; of more, the oldest go.
   * @param onReply is given each reply once, in order.
   * @param nowMs a clock.
   */
  constructor(
    private readonly model: ModelSpec,
    limits: Limits,
    private readonly backlog: number,
    private readonly onReply: (reply: Reply) => void,
    private readonly nowMs: () => number,
  ) {
    this.history = new History(model, limits.historySteps);
    this.user = new CodePacker(model.userCodebooks, model.cardinality);
    this.packer = new CodePacker(model.modelCodebooks, model.cardinality);
  }

  /** The number of the next frame. */
  get nextNumber(): number {
    return this.history.steps + this.frames.length;
  }

  /** Frames that wait for their replies. */
  get inFlight(): number {
    return this.frames.length;
  }

  /** Adds a frame of user codes [userCodebooks]; drops the oldest that was never sent where the backlog is full. */
  append(codes: Int32Array): void {
    if (this.nextNumber - this.sent >= this.backlog) {
      this.frames.splice(this.sent - this.history.steps, 1); // what was sent once is sent again: the worker knows it
      this.droppedFrames++;
    }
    this.frames.push({ packed: this.user.pack(codes), appendedMs: this.nowMs() });
  }

  /** The packed codes of a frame that goes out on some stream, perhaps not for the first time. */
  send(number: number): Uint8Array {
    this.sent = Math.max(this.sent, number + 1);
    const at = number - this.history.steps;
    return at < 0 ? this.history.userCodes(number) : this.frames[at]!.packed;
  }

  /** Takes the reply to the first frame that is unanswered; throws an `EdgeError` where it breaks the contract. */
  answer(message: ConverseResponse): void {
    const { steps } = this.history;
    const { model } = this;
    const frame = this.frames[0]!;
    const reply: Reply = { sequence: steps, text: "", roundTripMs: this.nowMs() - frame.appendedMs };
    let token = 0;
    if (steps >= model.delaySteps) {
      token = message.textToken ?? model.textPaddingToken;
      if (token >= model.textCardinality) throw brokenContract(`text token ${token} is out of range`);
      reply.text = message.text;
      if (model.modelCodebooks && steps >= model.delaySteps + model.soundDelaySteps) {
        reply.codes = this.packer.unpack(message.codes);
      }
    }
    this.frames.shift();
    this.history.append(frame.packed, token, reply.codes ? message.codes : new Uint8Array(0));
    this.onReply(reply);
  }
}
