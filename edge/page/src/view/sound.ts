/** The browser's microphone and speaker, each with a port that goes to the edge's worker. */

/** The browser cancels the echo: it knows what it plays. It may not clean more than that: the model hears people, too. */
const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: false,
  autoGainControl: true,
  channelCount: 1,
};

export class Sound {
  private constructor(
    private readonly context: AudioContext,
    private readonly speakerNode: AudioWorkletNode,
    readonly microphone: MessagePort,
    readonly speaker: MessagePort,
    private readonly microphoneNode: AudioWorkletNode,
  ) {}

  private stream: MediaStream | undefined;
  private source: MediaStreamAudioSourceNode | undefined;

  get rateHz(): number {
    return this.context.sampleRate;
  }

  /** Opens both; `onLost` is told when the microphone is gone. Rejects with an `Error` that says what to do. */
  static async open(onLost: () => void): Promise<Sound> {
    if (!navigator.mediaDevices) throw new Error("A browser gives its microphone to HTTPS and localhost only: use one of them.");
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.audioWorklet.addModule(new URL("worklet.js", document.baseURI));
      const [microphoneNode, microphone] = node(context, "antiphon-microphone", 0);
      const [speakerNode, speaker] = node(context, "antiphon-speaker", 1);
      speakerNode.connect(context.destination);
      const sound = new Sound(context, speakerNode, microphone, speaker, microphoneNode);
      await sound.listen(onLost);
      await context.resume();
      return sound;
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  /** Takes the microphone that the browser prefers now. */
  async listen(onLost: () => void): Promise<void> {
    this.source?.disconnect();
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE }).catch((error: DOMException) => {
      throw new Error(advice(error));
    });
    this.stream.getAudioTracks()[0]!.onended = onLost;
    this.source = this.context.createMediaStreamSource(this.stream);
    this.source.connect(this.microphoneNode);
  }

  /** A phone that was locked has stopped both. */
  async wake(): Promise<void> {
    if (this.context.state !== "closed") await this.context.resume();
  }

  async close(): Promise<void> {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.speakerNode.disconnect();
    await this.context.close();
  }
}

function node(context: AudioContext, name: string, outputs: number): [AudioWorkletNode, MessagePort] {
  const made = new AudioWorkletNode(context, name, { numberOfInputs: 1 - outputs, numberOfOutputs: outputs });
  const { port1, port2 } = new MessageChannel();
  made.port.postMessage(port1, [port1]);
  return [made, port2];
}

function advice(error: DOMException): string {
  if (error.name === "NotAllowedError") return "The microphone is not allowed here: allow it in the browser's address bar.";
  if (error.name === "NotFoundError") return "There is no microphone: connect one.";
  return `The microphone cannot be used: ${error.message || error.name}.`;
}
