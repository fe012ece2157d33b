/** How loud a signal is, and the switch that silences it. */
export const FLOOR_DBFS = -60;

/** Decibels below full scale of the loudest sample, not below `FLOOR_DBFS`. */
export function dbfs(frame: Float32Array): number {
  let peak = 0;
  for (const sample of frame) peak = Math.max(peak, Math.abs(sample));
  return Math.max(FLOOR_DBFS, 20 * Math.log10(Math.max(peak, 1e-9)));
}

const FADE_SAMPLES = 240; // 10 ms at 24 kHz: no click

/** Muted, the model hears silence; a turn is a short fade. */
export class Mute {
  private gain = 1; // at the end of the last frame

  constructor(public muted = false) {
    this.gain = muted ? 0 : 1;
  }

  /** The frame [N] as the model hears it, in place. */
  apply(frame: Float32Array): Float32Array {
    const before = this.gain;
    this.gain = this.muted ? 0 : 1;
    for (let i = 0; i < frame.length; i++) {
      const turned = Math.min(1, i / FADE_SAMPLES);
      frame[i]! *= before + (this.gain - before) * turned;
    }
    return frame;
  }
}
