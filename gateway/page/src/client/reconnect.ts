/** When to try again after a stream is lost: at once, then ever later, until the patience is over. */
import type { EdgeError } from "./errors.ts";

const FIRST_MS = 100;
const LONGEST_MS = 2_000; // where a person waits: a worker that is back is found within that
const PATIENCE_MS = 300_000; // so long without a new reply the session ends with the last error

export class Reconnect {
  private failures = 0; // since the last progress
  private untilMs = 0;

  constructor(
    private readonly nowMs: () => number,
    private readonly random: () => number = Math.random,
  ) {}

  /** The session was getting on until now. */
  progressed(): void {
    this.failures = 0;
    this.untilMs = this.nowMs() + PATIENCE_MS;
  }

  /** Counts a failure and returns the milliseconds to the next attempt; throws `error` where the patience is over. */
  failed(error: EdgeError): number {
    const leftMs = this.untilMs - this.nowMs();
    if (leftMs <= 0) throw error;
    const doubled = Math.min(FIRST_MS * 2 ** this.failures++, LONGEST_MS);
    return Math.min(Math.max(doubled, error.retryAfterMs) * (0.5 + this.random()), LONGEST_MS, leftMs);
  }
}
