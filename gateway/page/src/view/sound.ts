/** The browser's microphone and speaker, with ports that go to the edges' workers. */

/** The browser cancels the echo: it knows what it plays. It cleans no more than that: the model knows noise. */
const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: false,
  autoGainControl: true,
  channelCount: 1,
};

export class Sound {
  private readonly microphone: AudioWorkletNode;
  private readonly speaker: AudioWorkletNode;
  private stream: MediaStream | undefined;
  private source: MediaStreamAudioSourceNode | undefined;

  /** @param onMicrophone is told when the microphone is gone, and when there is one again. */
  private constructor(
    private readonly context: AudioContext,
    private readonly onMicrophone: (there: boolean) => void,
  ) {
    this.microphone = new AudioWorkletNode(context, "antiphon-microphone", { numberOfInputs: 1, numberOfOutputs: 0 });
    this.speaker = new AudioWorkletNode(context, "antiphon-speaker", { numberOfInputs: 0, numberOfOutputs: 1 });
    this.speaker.connect(context.destination);
  }

  get rateHz(): number {
    return this.context.sampleRate;
  }

  /** Opens both; rejects with an `Error` that says what to do. */
  static async open(onMicrophone: (there: boolean) => void): Promise<Sound> {
    if (!navigator.mediaDevices) {
      throw new Error("A browser gives its microphone to HTTPS and localhost only: open the page by one of them.");
    }
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.audioWorklet.addModule(new URL("worklet.js", document.baseURI)).catch(() => {
        throw new Error("The gateway does not answer: try again when it is back.");
      });
      const sound = new Sound(context, onMicrophone);
      await sound.listen();
      await context.resume();
      return sound;
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  /** A port from which the microphone's samples come. */
  microphonePort(): MessagePort {
    return portTo(this.microphone);
  }

  /** A port to which the speaker's samples go. */
  speakerPort(): MessagePort {
    return portTo(this.speaker);
  }

  /** A phone that was locked has stopped both. */
  async wake(): Promise<void> {
    if (this.context.state !== "closed") await this.context.resume();
  }

  async close(): Promise<void> {
    this.release();
    navigator.mediaDevices.ondevicechange = null;
    await this.context.close();
  }

  /** Takes the microphone that the browser prefers now. */
  private async listen(): Promise<void> {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE }).catch((error: DOMException) => {
      throw new Error(advice(error));
    });
    for (const track of this.stream.getTracks()) track.onended = () => this.lost();
    this.source = this.context.createMediaStreamSource(this.stream);
    this.source.connect(this.microphone);
  }

  /** Waits for another microphone. */
  private lost(): void {
    this.release();
    this.onMicrophone(false);
    navigator.mediaDevices.ondevicechange = async () => {
      await this.listen().then(
        () => this.onMicrophone(true),
        () => this.onMicrophone(false),
      );
    };
  }

  private release(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.source?.disconnect();
  }
}

function portTo(node: AudioWorkletNode): MessagePort {
  const { port1, port2 } = new MessageChannel();
  node.port.postMessage(port1, [port1]);
  return port2;
}

function advice({ name, message }: DOMException): string {
  if (name === "NotAllowedError") return "The microphone is not allowed here: allow it in the browser's address bar.";
  if (name === "NotFoundError") return "There is no microphone: connect one.";
  return `The microphone cannot be used: ${message || name}.`;
}
