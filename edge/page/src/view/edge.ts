/** The edge's worker, as the page holds it. */
import type { Event, Request } from "../talk/messages.ts";

export class Edge {
  private readonly worker = new Worker(new URL("edge.js", document.baseURI), { type: "module" });

  /** @param path of what the gateway serves it, below the page. */
  constructor(path: string, listens: boolean, onEvent: (event: Event) => void) {
    this.worker.onmessage = ({ data }: MessageEvent<Event>) => onEvent(data);
    this.worker.onerror = ({ message }) => onEvent({ kind: "failed", message: message || "the page's files are not whole" });
    this.tell({ kind: "load", base: new URL(path, document.baseURI).href, listens });
  }

  tell(request: Request, transfer: Transferable[] = []): void {
    this.worker.postMessage(request, transfer);
  }
}
