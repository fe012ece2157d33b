/**
 * A session: frames in, replies out, over as many calls as it takes.
 *
 * When a stream breaks or stalls, or the worker asks the session to move, another call is opened with the history, the
 * unanswered frames are sent again, and the session goes on. While there are two streams both get the frames, and the
 * first reply to each counts; the old one goes when the new one has caught up, so that nobody hears a gap.
 */
import { clone, create } from "@bufbuild/protobuf";
import { OpenSchema, PromptSchema, type ModelSpec, type Open, type Opened } from "#contract";
import type { Call, Dial } from "./call.ts";
import { EdgeError, unavailable } from "./errors.ts";
import { Journal, type Reply } from "./journal.ts";
import { Reconnect } from "./reconnect.ts";
import { Signal } from "./signal.ts";
import { Stream } from "./stream.ts";

const BACKLOG_FRAMES = 25; // 2 s of live audio, kept while no worker hears it
const STALL_MS = 3_000; // frames unanswered for so long are taken for a lost stream
const QUIET_MS = 10_000; // a stream on which nobody spoke for so long has proven itself

/** What a session tells its owner. */
export interface Owner {
  reply(reply: Reply): void;
  reconnecting(reason: string): void;
  resumed(afterMs: number, rebuiltSteps: number): void;
  /** It is over for good. */
  failed(error: EdgeError): void;
}

export class Session {
  resumptions = 0;
  readonly model: ModelSpec;
  readonly journal: Journal;
  private readonly reconnect: Reconnect;
  private readonly news = new Signal();
  private stream: Stream; // the one that the session goes on with
  private old: Stream | undefined; // the one that it leaves
  private stepsBefore = 0; // of the history, when the stream was taken
  private abandoned = false;
  private dialling = new AbortController();

  private constructor(
    private readonly open: Open,
    call: Call,
    private readonly owner: Owner,
    private readonly dial: Dial,
    private readonly nowMs: () => number,
  ) {
    this.model = checkOpened(call.opened, open);
    this.journal = new Journal(this.model, call.opened.limits!, BACKLOG_FRAMES, (reply) => owner.reply(reply), nowMs);
    this.reconnect = new Reconnect(nowMs);
    this.reconnect.progressed();
    this.stream = this.over(call);
  }

  /** Opens a session; rejects with the `EdgeError` of the first call, which is not tried again. */
  static async open(
    open: Open,
    owner: Owner,
    dial: Dial,
    nowMs: () => number = () => performance.now(),
  ): Promise<Session> {
    const call = await dial(open, new AbortController().signal);
    const session = new Session(settled(open, call.opened), call, owner, dial, nowMs);
    void session.run();
    return session;
  }

  /** The worker's name for the session. */
  get id(): string {
    return this.stream.call.opened.sessionId;
  }

  /** Sends a frame of user codes [userCodebooks] and never waits: while no worker hears it, the last 2 s are kept. */
  send(codes: Int32Array): void {
    this.journal.append(codes);
    this.stream.wake();
    this.old?.wake();
  }

  /** Says Close wherever the session is open. */
  async abandon(): Promise<void> {
    this.abandoned = true;
    this.dialling.abort();
    this.news.set();
    await Promise.all([this.stream.call.leave(), this.old?.call.leave()]);
  }

  private over(call: Call): Stream {
    return new Stream(call, this.journal, () => this.news.set(), this.nowMs);
  }

  private async run(): Promise<void> {
    try {
      while (!this.abandoned) {
        const reason = await this.watch();
        if (reason) await this.replace(reason);
      }
    } catch (error) {
      if (this.abandoned) return;
      this.owner.failed(error instanceof EdgeError ? error : new EdgeError("INTERNAL", String(error)));
      await this.abandon();
    }
  }

  /** Waits until the stream needs a successor and returns why; throws where none would help. */
  private async watch(): Promise<EdgeError | undefined> {
    while (!this.abandoned) {
      this.dropOld();
      const { error, goAway, stalledMs } = this.stream;
      if (error && !error.passing) throw error;
      if (error) return error;
      if (goAway !== undefined) return unavailable(goAway);
      if (stalledMs >= STALL_MS) return unavailable("the worker does not answer");
      await this.news.wait(stalledMs ? STALL_MS - stalledMs : STALL_MS);
    }
    return undefined;
  }

  /** Leaves the old stream once the new one has its replies, or one of them is of no use. */
  private dropOld(): void {
    const { old, stream } = this;
    if (old && (old.error || stream.error || stream.answered >= this.journal.history.steps)) {
      this.old = undefined;
      void old.call.leave();
    }
  }

  /** Goes on with another call, or with the stream as it is where it has recovered. */
  private async replace(reason: EdgeError): Promise<void> {
    const beganMs = this.nowMs();
    const { stream } = this;
    const answered = stream.answered;
    let waitMs = 0;
    if (this.hasProgressed()) this.reconnect.progressed();
    else waitMs = this.reconnect.failed(reason);
    this.owner.reconnecting(reason.message);
    this.dialling = new AbortController();
    const { signal } = this.dialling;
    let call: Call | undefined;
    let failure: unknown;
    this.nextCall(waitMs, signal).then(
      (dialled) => {
        call = dialled;
        if (signal.aborted) void call.leave();
        else this.news.set();
      },
      (error: unknown) => {
        failure = error;
        this.news.set();
      },
    );
    while (!call && !failure && !this.abandoned) {
      const stalled = !stream.error && stream.goAway === undefined;
      if (stream.error && !stream.error.passing) break;
      if (stalled && stream.answered > answered) break;
      await this.news.wait();
    }
    if (this.abandoned) return;
    if (failure) throw failure;
    if (!call) {
      this.dialling.abort();
      if (!stream.error) this.owner.resumed(this.nowMs() - beganMs, 0);
      return;
    }
    this.old?.call.leave();
    this.old = stream;
    this.stream = this.over(call);
    this.stepsBefore = this.journal.history.steps;
    this.resumptions++;
    this.owner.resumed(this.nowMs() - beganMs, call.opened.rebuiltSteps);
  }

  private hasProgressed(): boolean {
    if (this.journal.history.steps > this.stepsBefore) return true;
    return this.journal.inFlight === 0 && this.nowMs() - this.stream.beganMs >= QUIET_MS;
  }

  /** A call that goes on with the session; rejects with a final error, or the last one when the patience was over. */
  private async nextCall(waitMs: number, signal: AbortSignal): Promise<Call> {
    for (;;) {
      await sleep(waitMs, signal);
      try {
        const open = clone(OpenSchema, this.open);
        open.history = this.journal.history.toMessage();
        open.resumeToken = this.stream.call.opened.resumeToken;
        const call = await this.dial(open, signal);
        try {
          checkOpened(call.opened, open, this.model);
        } catch (error) {
          void call.leave();
          throw error;
        }
        return call;
      } catch (error) {
        if (!(error instanceof EdgeError) || !error.passing || signal.aborted) throw error;
        waitMs = this.reconnect.failed(error);
        this.owner.reconnecting(error.message);
      }
    }
  }
}

/** What the calls after the first say: with what the worker chose where nothing was asked for. */
function settled(open: Open, opened: Opened): Open {
  const next = clone(OpenSchema, open);
  if (!next.sampling && opened.model?.sampling) next.sampling = opened.model.sampling;
  if (opened.promptSha256.length) {
    next.prompt = next.prompt ? clone(PromptSchema, next.prompt) : create(PromptSchema);
    next.prompt.sha256 = opened.promptSha256;
  }
  return next;
}

/** The model that the worker opened the session with; throws an `EdgeError` where no session can be held with it. */
function checkOpened(opened: Opened, open: Open, before?: ModelSpec): ModelSpec {
  const { model, limits, stepOffset } = opened;
  if (!model || !limits) throw new EdgeError("INVALID_ARGUMENT", "the worker does not say what it serves");
  if (stepOffset !== (open.history?.steps ?? 0)) {
    throw new EdgeError("INVALID_ARGUMENT", `the worker goes on at frame ${stepOffset}, another one comes next`);
  }
  if (before && before.fingerprint.join() !== model.fingerprint.join()) {
    throw new EdgeError("FAILED_PRECONDITION", "the worker serves another model now: begin a new talk");
  }
  return model;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(unavailable("the attempt was given up"));
    });
  });
}
