/** The codec in the browser: samples to codes and back on onnxruntime's WebAssembly, one frame a step. */
import * as ort from "onnxruntime-web/wasm";
import type { Access } from "../client/access.ts";
import { fetchGraph, fetchManifest, type CodecGraph, type CodecManifest, type GraphState } from "./files.ts";

ort.env.wasm.numThreads = 1; // more need a page that is isolated from all others, and the clerk needs no more
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", self.location.href).href };
ort.env.logLevel = "error";

const WARM_UP_FRAMES = 5;

/** One half of the codec, and the one stream that goes through it. */
class Half {
  private states: Record<string, ort.Tensor> = {};

  constructor(
    private readonly session: ort.InferenceSession,
    private readonly graph: CodecGraph,
  ) {
    this.reset();
  }

  static async load(access: Access, graph: CodecGraph): Promise<Half> {
    const options = { executionProviders: ["wasm"], logSeverityLevel: 4 as const }; // errors arrive as exceptions
    return new Half(await ort.InferenceSession.create(await fetchGraph(access, graph), options), graph);
  }

  /** All states to zero: a new stream. */
  reset(): void {
    for (const state of this.graph.states) this.states[state.input] = zeros(state);
  }

  /** One frame: from the source to the result; the states after it are the next frame's. */
  async step(source: ort.Tensor): Promise<ort.Tensor> {
    const results = await this.session.run({ [this.graph.input]: source, ...this.states });
    for (const { input, output } of this.graph.states) this.states[input] = results[output]!;
    return results[this.graph.output]!;
  }
}

export class Codec {
  private constructor(
    readonly manifest: CodecManifest,
    private readonly encoder: Half,
    private readonly decoder: Half | undefined,
  ) {}

  /** Loads the gateway's codec; a listener needs no decoder. */
  static async load(access: Access, decodes: boolean): Promise<Codec> {
    const manifest = await fetchManifest(access);
    const { encoder, decoder } = manifest;
    const halves = [Half.load(access, encoder), decodes ? Half.load(access, decoder) : undefined] as const;
    return new Codec(manifest, ...(await Promise.all(halves)));
  }

  /** The browser compiles again what it sees run: no conversation should wait for that. Ends with new streams. */
  async warmUp(): Promise<void> {
    for (let i = 0; i < WARM_UP_FRAMES; i++) {
      const codes = await this.encode(new Float32Array(this.manifest.frame_samples));
      if (this.decoder) await this.decode(codes);
    }
    this.reset();
  }

  get fingerprint(): Uint8Array {
    const bytes = this.manifest.fingerprint.match(/../g) ?? [];
    return Uint8Array.from(bytes, (byte) => parseInt(byte, 16));
  }

  /** New streams both ways. */
  reset(): void {
    this.encoder.reset();
    this.decoder?.reset();
  }

  /** A new stream of samples, while the codes' goes on. */
  resetEncoder(): void {
    this.encoder.reset();
  }

  /** The codes [codebooks] of a frame [frame_samples]. */
  async encode(pcm: Float32Array): Promise<Int32Array> {
    return (await this.encoder.step(new ort.Tensor("float32", pcm, [pcm.length]))).data as Int32Array;
  }

  /** The samples [frame_samples] of codes [codebooks]. */
  async decode(codes: Int32Array): Promise<Float32Array> {
    const pcm = await this.decoder!.step(new ort.Tensor("int32", codes, [codes.length]));
    return pcm.data as Float32Array;
  }
}

function zeros({ dtype, shape }: GraphState): ort.Tensor {
  const size = shape.reduce((product, side) => product * side, 1);
  if (dtype === "int64") return new ort.Tensor("int64", new BigInt64Array(size), shape);
  if (dtype === "int32") return new ort.Tensor("int32", new Int32Array(size), shape);
  return new ort.Tensor("float32", new Float32Array(size), shape);
}
