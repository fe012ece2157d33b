/** An edge's worker, as the page holds it. */
import type { Event, Request } from "../talk/messages.ts";
import type { Sound } from "./sound.ts";

export class Edge {
  private readonly worker = new Worker(new URL("edge.js", document.baseURI), { type: "module" });

  /**
   * @param path of what the gateway serves it: "" for a dialogue. `load` comes first.
   * @param listens alone: nothing of it is heard.
   */
  constructor(
    private readonly path: string,
    private readonly listens: boolean,
    onEvent: (event: Event) => void,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<Event>) => onEvent(data);
    this.worker.onerror = ({ message }) => {
      onEvent({ kind: "failed", message: message || "the page's files are not whole" });
    };
  }

  load(key: string): void {
    const root = new URL("v1/", document.baseURI).href;
    this.tell({ kind: "load", root, path: this.path, key, listens: this.listens });
  }

  talk(sound: Sound, voice: string, persona: string, muted: boolean): void {
    const microphone = sound.microphonePort();
    const speaker = this.listens ? null : sound.speakerPort();
    const choices = { voice, persona };
    const ports = speaker ? [microphone, speaker] : [microphone];
    this.tell({ kind: "talk", microphone, speaker, rateHz: sound.rateHz, choices, muted }, ports);
  }

  mute(muted: boolean): void {
    this.tell({ kind: "mute", muted });
  }

  end(): void {
    this.tell({ kind: "end" });
  }

  private tell(request: Request, transfer: Transferable[] = []): void {
    this.worker.postMessage(request, transfer);
  }
}
