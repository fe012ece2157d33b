/**
 * The browser's audio thread: the microphone's samples go to the edges' workers, the model's come from one. They cross
 * by ports of their own, so that neither waits for the page.
 */
import { FrameBuffer } from "./frames.ts";
import { Playout } from "./playout.ts";

const BLOCK_SAMPLES = 512; // 11 ms at 48 kHz: 94 messages a second

export interface PlayoutReport {
  waitingMs: number;
  underruns: number;
}

/** What the worklet's global scope has, and the DOM's types do not. */
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

class Microphone extends AudioWorkletProcessor {
  private readonly blocks = new FrameBuffer(BLOCK_SAMPLES);
  private readonly workers: MessagePort[] = [];

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<MessagePort>) => this.workers.push(data);
  }

  process([input]: Float32Array[][]): boolean {
    const channel = input?.[0]; // the others are left out: an average cancels what a microphone array inverts
    for (const block of channel ? this.blocks.push(channel) : []) {
      for (const worker of this.workers) worker.postMessage(block);
    }
    return true;
  }
}

class Speaker extends AudioWorkletProcessor {
  private readonly playout = new Playout(sampleRate);
  private worker?: MessagePort;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<MessagePort>) => {
      this.worker = data;
      this.worker.onmessage = (message: MessageEvent<Float32Array>) => {
        this.playout.write(message.data);
        const waitingMs = (1e3 * this.playout.waiting) / sampleRate;
        this.worker?.postMessage({ waitingMs, underruns: this.playout.underruns } satisfies PlayoutReport);
      };
    };
  }

  process(_: Float32Array[][], [output]: Float32Array[][]): boolean {
    const [first, ...others] = output ?? [];
    if (first) this.playout.read(first);
    for (const channel of others) channel.set(first!);
    return true;
  }
}

registerProcessor("antiphon-microphone", Microphone);
registerProcessor("antiphon-speaker", Speaker);
