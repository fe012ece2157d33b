/** Blocks of any length in, frames of one length out. */
export class FrameBuffer {
  private readonly frame: Float32Array;
  private level = 0;

  constructor(private readonly frameSamples: number) {
    this.frame = new Float32Array(frameSamples);
  }

  /** The whole frames [frameSamples] that `block` [N] completes; the rest waits for more. */
  push(block: Float32Array): Float32Array[] {
    const frames: Float32Array[] = [];
    for (let at = 0; at < block.length; ) {
      const now = Math.min(block.length - at, this.frameSamples - this.level);
      this.frame.set(block.subarray(at, at + now), this.level);
      at += now;
      this.level += now;
      if (this.level === this.frameSamples) {
        frames.push(this.frame.slice());
        this.level = 0;
      }
    }
    return frames;
  }
}
