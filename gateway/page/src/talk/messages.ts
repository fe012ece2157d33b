/** What crosses between the page and the edge's worker. */
import type { PlayoutReport } from "../audio/worklet.ts";

export interface Choices {
  voice: string;
  persona: string;
}

export type Request =
  | { kind: "load"; root: string; path: string; key: string; listens: boolean }
  | {
      kind: "talk";
      microphone: MessagePort;
      speaker: MessagePort | null;
      rateHz: number;
      choices: Choices;
      muted: boolean;
    }
  | { kind: "mute"; muted: boolean }
  | { kind: "end" };

/** What the model that is served lets a person choose, and what it does. */
export interface Served {
  model: string;
  voices: string[];
  takesVoice: boolean;
  takesText: boolean;
  randomWeights: boolean;
  /** Whether another worker writes down what the person says. */
  transcribed: boolean;
}

export interface Status {
  microphoneDbfs: number;
  speakerDbfs: number;
  roundTripMs: number;
  /** Speech that is not answered yet. */
  lagMs: number;
  encodeMs: number;
  decodeMs: number;
  framesUp: number;
  framesDown: number;
  lateReplies: number;
  playout: PlayoutReport;
}

export type Event =
  | { kind: "loaded"; served: Served }
  /** The gateway needs a key, or another one. */
  | { kind: "locked"; message: string }
  | { kind: "connected"; session: string }
  | { kind: "text"; text: string }
  | { kind: "status"; status: Status }
  | { kind: "reconnecting"; reason: string }
  | { kind: "resumed"; afterMs: number; rebuiltSteps: number }
  | { kind: "failed"; message: string };
