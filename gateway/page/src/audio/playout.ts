/**
 * The playout buffer between the network, which is late at times, and the speaker, which never waits.
 *
 * The first audio waits for a prefill: so much later than it any following frame may come and still be in time. A
 * buffer that runs dry fades to silence, counts an underrun and waits again. A full one drops the oldest audio, and so
 * does one in which more than a spare frame stood unneeded for `STANDING_S`. Every cut is faded. No I/O and no clock.
 */
const PREFILL_S = 0.08; // one frame hides Wi-Fi jitter
const CAPACITY_S = 0.4; // what comes at once after a stall; more would only be latency for the rest of the talk
const STANDING_S = 2; // what has waited for so long without being needed is only latency
const SPARE_S = 0.08; // but one frame more than the prefill may: jitter comes back
const FADE_S = 0.005;

export class Playout {
  underruns = 0;
  droppedSamples = 0;
  private readonly ring: Float32Array;
  private readonly prefill: number;
  private readonly spare: number;
  private readonly standing: number;
  private readonly fade: number;
  private start = 0;
  private level = 0;
  private wait: number; // samples of silence before the first audio
  private playing = false;
  private watched = 0; // samples played since the level was last judged
  private lowest = Infinity; // and the least that was left meanwhile
  private fadedIn = 0; // samples since the last cut, up to a fade
  private tail: Float32Array = new Float32Array(0); // what conceals the last cut and is still to be played
  private last = 0;

  constructor(rateHz: number) {
    const samples = (seconds: number) => Math.round(seconds * rateHz);
    this.ring = new Float32Array(samples(CAPACITY_S));
    this.prefill = this.wait = samples(PREFILL_S);
    this.spare = samples(SPARE_S);
    this.standing = samples(STANDING_S);
    this.fade = samples(FADE_S);
  }

  /** Samples that wait to be played. */
  get waiting(): number {
    return this.level;
  }

  /** Appends `pcm` [N]; full: drops the oldest. */
  write(pcm: Float32Array): void {
    this.drop(this.level + pcm.length - this.ring.length);
    for (const sample of pcm.subarray(Math.max(0, pcm.length - this.ring.length))) {
      this.ring[(this.start + this.level) % this.ring.length] = sample;
      this.level++;
    }
  }

  /** Fills `out` [N] with what is heard next: audio, a fade or silence. */
  read(out: Float32Array): void {
    out.fill(0);
    const begin = this.silence(out.length);
    const end = begin + Math.min(out.length - begin, this.level);
    for (let i = begin; i < end; i++) {
      out[i] = this.ring[this.start]! * Math.min(1, ++this.fadedIn / this.fade);
      this.start = (this.start + 1) % this.ring.length;
    }
    this.fadedIn = Math.min(this.fadedIn, this.fade);
    this.level -= end - begin;
    this.playTail(out, 0, end);
    if (begin < end) this.last = out[end - 1]!;
    if (end < out.length) this.runDry(out, end);
    else this.shed(end - begin);
  }

  /** How many of the next samples are silent because the first audio still waits. */
  private silence(samples: number): number {
    if (this.playing) return 0;
    if (this.level === 0) return samples;
    const silence = Math.min(samples, this.wait);
    this.wait -= silence;
    this.playing = silence < samples;
    return silence;
  }

  private runDry(out: Float32Array, from: number): void {
    if (this.playing) {
      this.underruns++;
      this.playing = false;
      this.conceal();
    }
    this.wait = this.prefill;
    this.watchLevel();
    this.playTail(out, from, out.length);
  }

  /** Drops what has stood here too long. */
  private shed(played: number): void {
    this.watched += played;
    this.lowest = Math.min(this.lowest, this.level);
    if (this.watched < this.standing) return;
    if (this.lowest > this.prefill + this.spare) this.drop(this.lowest - this.prefill);
    this.watchLevel();
  }

  private watchLevel(): void {
    this.watched = 0;
    this.lowest = Infinity;
  }

  private conceal(): void {
    this.tail = Float32Array.from({ length: this.fade }, (_, i) => this.last * (1 - i / this.fade));
    this.last = 0;
    this.fadedIn = 0;
  }

  private playTail(out: Float32Array, from: number, to: number): void {
    const now = Math.min(to - from, this.tail.length);
    for (let i = 0; i < now; i++) out[from + i]! += this.tail[i]!;
    this.tail = this.tail.subarray(now);
  }

  private drop(samples: number): void {
    if (samples <= 0) return;
    this.droppedSamples += samples;
    const oldest = Math.min(samples, this.level);
    this.start = (this.start + oldest) % this.ring.length;
    this.level -= oldest;
    if (this.playing) this.conceal();
  }
}
