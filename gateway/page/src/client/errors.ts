/** What ends a call, as the contract's statuses; `antiphon/errors.py` draws the same tree. */

/** Another attempt may not meet these: a worker that is gone, starting, draining or full. */
const PASSING = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);

export class EdgeError extends Error {
  constructor(
    readonly status: string,
    message: string,
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }

  get passing(): boolean {
    return PASSING.has(this.status);
  }
}

export const unavailable = (message: string) => new EdgeError("UNAVAILABLE", message);
export const brokenContract = (message: string) => new EdgeError("INVALID_ARGUMENT", message);
