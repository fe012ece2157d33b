/** Which replies come too late to be heard: after an outage the conversation catches up instead of staying behind. */
const MAX_LAG_MS = 240; // three frames later than the fastest of the last ones
const WINDOW = 50; // replies: 4 s, after which a slower network is the usual one

export class LateReplyFilter {
  private readonly recent: number[] = [];

  /** Whether the reply with this round trip should be skipped. */
  isLate(roundTripMs: number): boolean {
    this.recent.push(roundTripMs);
    if (this.recent.length > WINDOW) this.recent.shift();
    return roundTripMs - Math.min(...this.recent) > MAX_LAG_MS;
  }
}
