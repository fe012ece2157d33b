/** A call: one WebSocket to the gateway, which passes each message on to a worker and back, unchanged. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ConverseRequestSchema,
  ConverseResponseSchema,
  type ConverseRequest,
  type ConverseResponse,
  type Open,
  type Opened,
} from "#contract";
import { brokenContract, EdgeError, unavailable } from "./errors.ts";

const OPEN_TIMEOUT_MS = 15_000; // from dialling to Opened: the gateway may try one worker that does not answer
const PREFILL_TIMEOUT_MS = 45_000; // the same, where the worker computes a history or a prompt
const LEAVE_MS = 1_000; // from Close to Closed; then the socket is closed

/** What the call is told; `ended` comes last, and once. */
export interface Listener {
  message(response: ConverseResponse): void;
  ended(error: EdgeError): void;
}

/** Opens a call: `Call.dial` at some address, or what stands for it in a test. */
export type Dial = (open: Open, signal: AbortSignal) => Promise<Call>;

export class Call {
  private listener: Listener | undefined;
  private leaving: (() => void) | undefined;
  private over: EdgeError | undefined;

  private constructor(
    private readonly socket: WebSocket,
    readonly opened: Opened,
  ) {}

  /** Opens a call; rejects with an `EdgeError`, also where `signal` gives it up. */
  static dial(this: void, url: string, open: Open, signal: AbortSignal): Promise<Call> {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const timeoutMs = open.history || open.prompt ? PREFILL_TIMEOUT_MS : OPEN_TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      let call: Call | undefined;
      let refusal: EdgeError | undefined;
      const give = (error: EdgeError) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        if (call) call.end(error);
        else reject(error);
        socket.close();
      };
      const abort = () => give(unavailable("the attempt was given up"));
      const timer = setTimeout(() => give(unavailable("the worker did not answer in time")), timeoutMs);
      signal.addEventListener("abort", abort);
      socket.onopen = () => send(socket, create(ConverseRequestSchema, { control: { case: "open", value: open } }));
      socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
        if (typeof data === "string") {
          refusal = readStatus(data);
          return;
        }
        const response = parse(data);
        if (!response) give(brokenContract("the gateway sent what is no message of the contract"));
        else if (call) call.accept(response);
        else if (response.control.case === "opened") {
          clearTimeout(timer);
          signal.removeEventListener("abort", abort);
          resolve((call = new Call(socket, response.control.value)));
        } else give(unavailable("the worker takes no session now"));
      };
      socket.onclose = () => give(refusal ?? unavailable("the connection was lost"));
    });
  }

  /** Gives the call's messages to `listener` from now on: the caller has not yielded since `dial`. */
  listen(listener: Listener): void {
    this.listener = listener;
    if (this.over) listener.ended(this.over);
  }

  write(request: ConverseRequest): void {
    if (!this.over) send(this.socket, request);
  }

  /** Says Close, waits a moment for Closed and closes the socket. */
  async leave(): Promise<void> {
    if (this.over) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LEAVE_MS);
      this.leaving = () => {
        clearTimeout(timer);
        resolve();
      };
      this.write(create(ConverseRequestSchema, { control: { case: "close", value: {} } }));
    });
    this.socket.close();
  }

  private accept(response: ConverseResponse): void {
    if (response.control.case === "closed") this.end(unavailable("the worker closed the session"));
    else this.listener?.message(response);
  }

  private end(error: EdgeError): void {
    if (this.over) return;
    this.over = error;
    if (this.leaving) this.leaving();
    else this.listener?.ended(error);
  }
}

function send(socket: WebSocket, request: ConverseRequest): void {
  if (socket.readyState === WebSocket.OPEN) socket.send(toBinary(ConverseRequestSchema, request));
}

function parse(data: ArrayBuffer): ConverseResponse | undefined {
  try {
    return fromBinary(ConverseResponseSchema, new Uint8Array(data));
  } catch {
    return undefined;
  }
}

/** The status that the gateway says before it closes the socket. */
function readStatus(text: string): EdgeError {
  try {
    const { status, message, retry_after_s: retryAfterS = 0 } = JSON.parse(text);
    return new EdgeError(String(status), String(message), 1e3 * Number(retryAfterS));
  } catch {
    return brokenContract("the gateway gave a reason that cannot be read");
  }
}
