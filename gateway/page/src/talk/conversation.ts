/** A conversation from sound to sound: microphone → codec → session → codec → speaker. */
import { FrameBuffer } from "../audio/frames.ts";
import { dbfs, FLOOR_DBFS, Mute } from "../audio/level.ts";
import { Resampler } from "../audio/resampler.ts";
import type { Reply } from "../client/journal.ts";
import type { Session } from "../client/session.ts";
import type { Codec } from "../codec/codec.ts";
import { LateReplyFilter } from "./late_replies.ts";
import type { Status } from "./messages.ts";
import { Queue } from "./queue.ts";

const MICROPHONE_FRAMES = 25; // 2 s that wait to be encoded; full: the oldest goes
const DECAY_DB = 12; // a frame, of a level that nothing renews
const REPLY_FRAMES = 64; // that wait to be decoded: more than a worker has in flight

/** What the conversation needs of the codec. */
export type Coder = Pick<Codec, "manifest" | "encode" | "decode" | "resetEncoder">;

export class Conversation {
  readonly mute: Mute;
  readonly status: Status = {
    microphoneDbfs: FLOOR_DBFS,
    speakerDbfs: FLOOR_DBFS,
    roundTripMs: 0,
    lagMs: 0,
    encodeMs: 0,
    decodeMs: 0,
    framesUp: 0,
    framesDown: 0,
    lateReplies: 0,
    playout: { waitingMs: 0, underruns: 0 },
  };
  private readonly heard = new Queue<Float32Array>(MICROPHONE_FRAMES);
  private readonly replies = new Queue<Reply>(REPLY_FRAMES);
  private readonly late = new LateReplyFilter();
  private readonly frames: FrameBuffer;
  private readonly down: Resampler; // the microphone's rate to the codec's
  private readonly up: Resampler;

  /**
   * @param codec at the start of its streams.
   * @param rateHz of the browser's sound.
   * @param play takes samples at that rate.
   * @param onText takes the model's text.
   * @param onStatus is told after each frame.
   */
  constructor(
    private readonly codec: Coder,
    rateHz: number,
    muted: boolean,
    private readonly play: (pcm: Float32Array) => void,
    private readonly onText: (text: string) => void,
    private readonly onStatus: (status: Status) => void,
  ) {
    const { sample_rate_hz: codecHz, frame_samples: frameSamples } = codec.manifest;
    this.mute = new Mute(muted);
    this.frames = new FrameBuffer(frameSamples);
    this.down = new Resampler(rateHz, codecHz);
    this.up = new Resampler(codecHz, rateHz);
  }

  /** Takes what the microphone brings, at the browser's rate. */
  hear(block: Float32Array): void {
    for (const frame of this.frames.push(this.down.push(block))) this.heard.put(frame);
  }

  /** Takes a reply of the session. */
  reply(reply: Reply): void {
    this.status.roundTripMs = reply.roundTripMs;
    if (reply.text) this.onText(reply.text);
    if (reply.codes) this.replies.put(reply);
  }

  /** Nothing more is taken; `run` returns. */
  end(): void {
    this.heard.close();
    this.replies.close();
  }

  /** Carries frames both ways until `end`; rejects where the codec fails. */
  async run(session: Session): Promise<void> {
    try {
      await Promise.all([this.encode(session), this.decode()]);
    } finally {
      this.end();
    }
  }

  private async encode(session: Session): Promise<void> {
    const { model, journal } = session;
    const { frame_samples: frameSamples, sample_rate_hz: rateHz } = this.codec.manifest;
    const frameMs = (1e3 * frameSamples) / rateHz;
    if (!model.modelCodebooks) {
      // A model that only listens needs silence before the first sound, and does not hear the first frame.
      const silence = frameSamples + (model.silenceBeforeMs * rateHz) / 1e3;
      for (const frame of this.frames.push(new Float32Array(silence))) await this.send(session, frame);
    }
    // No model hears a session's first frame: the published servers restart the encoder after it, unless a voice is
    // the prompt, whose steps come first.
    let restart = !model.takesVoice;
    for (let frame; (frame = await this.heard.take()); ) {
      this.status.microphoneDbfs = dbfs(this.mute.apply(frame));
      await this.send(session, frame);
      if (restart) this.codec.resetEncoder();
      restart = false;
      this.status.lagMs = Math.max(0, journal.inFlight - 1) * frameMs;
      this.onStatus(this.status);
      this.status.speakerDbfs = Math.max(FLOOR_DBFS, this.status.speakerDbfs - DECAY_DB); // until the next reply
    }
  }

  private async send(session: Session, frame: Float32Array): Promise<void> {
    const began = performance.now();
    const codes = await this.codec.encode(frame);
    this.status.encodeMs = performance.now() - began;
    this.status.framesUp++;
    session.send(codes.subarray(0, session.model.userCodebooks));
  }

  private async decode(): Promise<void> {
    for (let reply; (reply = await this.replies.take()); ) {
      if (this.late.isLate(reply.roundTripMs)) {
        this.status.lateReplies++;
        continue;
      }
      const began = performance.now();
      const pcm = await this.codec.decode(reply.codes!.subarray(0, this.codec.manifest.codebooks));
      this.status.decodeMs = performance.now() - began;
      this.status.framesDown++;
      this.status.speakerDbfs = dbfs(pcm);
      this.play(this.up.push(pcm));
    }
  }
}
