/** One call's share of a session: what went out on it, what was answered, and whether it still works. */
import { create } from "@bufbuild/protobuf";
import { ConverseRequestSchema, type ConverseResponse } from "#contract";
import type { Call, Listener } from "./call.ts";
import { brokenContract, EdgeError } from "./errors.ts";
import type { Journal } from "./journal.ts";

const NUMBERED_EVERY = 256; // frames between two that carry their number: 20 s

export class Stream implements Listener {
  answered: number; // the number of the next frame to be answered
  /** Why it has ended. */
  error: EdgeError | undefined;
  /** Why the worker asks the session to move. */
  goAway: string | undefined;
  readonly beganMs: number;
  private readonly first: number;
  private sent: number; // the number of the next frame to go out
  private progressMs: number; // when a frame was last answered, or sent with none before it

  /** @param onChange says that `answered`, `error` or `goAway` has changed. */
  constructor(
    readonly call: Call,
    private readonly journal: Journal,
    private readonly onChange: () => void,
    private readonly nowMs: () => number,
  ) {
    this.answered = this.first = this.sent = call.opened.stepOffset;
    this.beganMs = this.progressMs = nowMs();
    call.listen(this);
    this.wake();
  }

  /** Milliseconds that the oldest unanswered frame has waited. */
  get stalledMs(): number {
    return this.sent === this.answered ? 0 : this.nowMs() - this.progressMs;
  }

  /** Sends what there is to send, as many frames as the worker allows. */
  wake(): void {
    const most = this.answered + (this.call.opened.limits?.maxFramesInFlight || 1);
    while (this.sent < Math.min(this.journal.nextNumber, most) && !this.error) {
      const request = create(ConverseRequestSchema, { codes: this.journal.send(this.sent) });
      if (this.sent % NUMBERED_EVERY === 0 || this.sent === this.first) request.sequence = this.sent;
      if (this.sent === this.answered) this.progressMs = this.nowMs();
      this.sent++;
      this.call.write(request);
    }
  }

  message(response: ConverseResponse): void {
    try {
      if (response.control.case === "goAway") this.goAway = response.control.value.reason;
      else if (response.control.case) throw brokenContract("the worker opened a session twice");
      else this.accept(response);
    } catch (error) {
      this.ended(error instanceof EdgeError ? error : new EdgeError("INTERNAL", String(error)));
      void this.call.leave();
    }
    this.onChange();
  }

  ended(error: EdgeError): void {
    this.error ??= error;
    this.onChange();
  }

  /** Takes a reply; one that another stream has brought already is passed over. */
  private accept(reply: ConverseResponse): void {
    const sequence = reply.sequence ?? this.answered;
    if (this.answered === this.sent || sequence !== this.answered) {
      throw brokenContract(`the worker answered frame ${sequence} out of turn`);
    }
    this.answered++;
    this.progressMs = this.nowMs();
    if (sequence === this.journal.history.steps) this.journal.answer(reply);
    this.wake();
  }
}
