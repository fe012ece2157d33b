/**
 * A stream of samples from one rate to another: a windowed sinc, evaluated at each output sample.
 *
 * The kernel is tabulated at `PHASES` places between two samples and interpolated linearly between them, as in Julius
 * O. Smith, "Digital Audio Resampling" (https://ccrma.stanford.edu/~jos/resample/). It is a state machine without I/O.
 */
const HALF_WIDTH = 24; // zero crossings on each side: 1 ms at 24 kHz
const PHASES = 256;
const ROLL_OFF = 0.94; // of the lower rate's band: what the window's slope needs
const KAISER_BETA = 9; // stop band 90 dB down

export class Resampler {
  private readonly step: number; // input samples an output sample
  private readonly reach: number; // input samples on each side of an output sample
  private readonly kernel: Float32Array; // one side, `PHASES` entries a sample
  private pending: Float32Array; // input from `reach` samples before the next output sample on
  private at: number; // the next output sample's place in `pending`

  /** Blocks of `fromHz` in, blocks of `toHz` out. */
  constructor(fromHz: number, toHz: number) {
    if (!(fromHz > 0 && toHz > 0)) throw new RangeError(`rates of ${fromHz} and ${toHz} Hz`);
    this.step = fromHz / toHz;
    const cutoff = Math.min(1, toHz / fromHz) * ROLL_OFF; // of the input's band
    this.reach = this.step === 1 ? 0 : Math.ceil(HALF_WIDTH / cutoff);
    this.kernel = windowedSinc(this.reach, cutoff);
    this.pending = new Float32Array(this.reach);
    this.at = this.reach;
  }

  /** The samples that `block` [N] completes; the last `reach` samples of input wait for what follows. */
  push(block: Float32Array): Float32Array {
    if (this.reach === 0) return block;
    const input = new Float32Array(this.pending.length + block.length);
    input.set(this.pending);
    input.set(block, this.pending.length);
    const count = Math.max(0, Math.ceil((input.length - this.reach - this.at) / this.step));
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = this.sample(input, this.at + i * this.step);
    this.at += count * this.step;
    const done = Math.floor(this.at) - this.reach;
    this.pending = input.slice(done);
    this.at -= done;
    return out;
  }

  private sample(input: Float32Array, at: number): number {
    const first = Math.floor(at);
    let sum = 0;
    for (let n = first - this.reach + 1; n <= first + this.reach; n++) {
      const place = Math.abs(at - n) * PHASES;
      const low = Math.floor(place);
      const below = this.kernel[low]!;
      sum += (input[n] ?? 0) * (below + (place - low) * (this.kernel[low + 1]! - below));
    }
    return sum;
  }
}

function windowedSinc(reach: number, cutoff: number): Float32Array {
  const kernel = new Float32Array(reach * PHASES + 2);
  for (let i = 0; i < reach * PHASES; i++) {
    const x = i / PHASES;
    const window = bessel(KAISER_BETA * Math.sqrt(1 - (x / reach) ** 2)) / bessel(KAISER_BETA);
    kernel[i] = window * (x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x));
  }
  return kernel;
}

/** The modified Bessel function of order 0, by its series. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
