/** A worker without a network: calls that answer each frame, until they are told to break. */
import { create } from "@bufbuild/protobuf";
import {
  ConverseResponseSchema,
  GoAwaySchema,
  LimitsSchema,
  ModelSpecSchema,
  OpenedSchema,
  type ConverseRequest,
  type Open,
  type Opened,
} from "#contract";
import type { Call, Listener } from "#page/client/call.ts";
import { CodePacker } from "#page/client/codes.ts";
import { EdgeError, unavailable } from "#page/client/errors.ts";

export const CODES = Int32Array.from({ length: 8 }, (_, k) => 100 * k + 1);
export const MODEL = create(ModelSpecSchema, {
  name: "stub",
  userCodebooks: 8,
  modelCodebooks: 8,
  cardinality: 2_048,
  textCardinality: 65_000,
  delaySteps: 1,
  contextSteps: 40,
  fingerprint: new Uint8Array(32),
});
export const LIMITS = create(LimitsSchema, { maxFramesInFlight: 32, historySteps: 64 });
const REPLY = new CodePacker(8, 2_048).pack(CODES);

export class FakeCall {
  readonly opened: Opened;
  readonly frames: Uint8Array[] = [];
  left = false;
  private listener: Listener | undefined;

  constructor(
    readonly open: Open,
    private readonly worker: FakeWorker,
  ) {
    const steps = open.history?.steps ?? 0;
    this.opened = create(OpenedSchema, {
      sessionId: "s",
      model: worker.model,
      limits: LIMITS,
      stepOffset: steps,
      rebuiltSteps: steps,
      resumeToken: Uint8Array.of(1),
    });
  }

  listen(listener: Listener): void {
    this.listener = listener;
  }

  write({ codes, control }: ConverseRequest): void {
    if (control.case) return;
    this.frames.push(codes);
    if (!this.worker.silent) this.answer();
  }

  answer(): void {
    queueMicrotask(() => this.listener?.message(create(ConverseResponseSchema, { codes: REPLY, text: "." })));
  }

  goAway(): void {
    const value = create(GoAwaySchema, { reason: "the worker drains" });
    this.listener?.message(create(ConverseResponseSchema, { control: { case: "goAway", value } }));
  }

  break(error: EdgeError = unavailable("the connection was lost")): void {
    this.listener?.ended(error);
  }

  leave(): Promise<void> {
    this.left = true;
    this.listener = undefined;
    return Promise.resolve();
  }
}

export class FakeWorker {
  readonly calls: FakeCall[] = [];
  /** Takes frames and answers none. */
  silent = false;
  model = MODEL;
  /** What the next calls are refused with. */
  refusals: EdgeError[] = [];

  readonly dial = (open: Open): Promise<Call> => {
    const refusal = this.refusals.shift();
    if (refusal) return Promise.reject(refusal);
    const call = new FakeCall(open, this);
    this.calls.push(call);
    return Promise.resolve(call as unknown as Call);
  };

  get last(): FakeCall {
    return this.calls.at(-1)!;
  }
}
