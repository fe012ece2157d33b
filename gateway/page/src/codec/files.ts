/** The codec's files, as the gateway serves them: each is checked before onnxruntime sees it. */
import type { Access } from "../client/access.ts";

export interface GraphState {
  input: string;
  output: string;
  dtype: "float32" | "int32" | "int64";
  shape: number[];
}

export interface CodecGraph {
  file: string;
  size_bytes: number;
  sha256: string;
  input: string;
  output: string;
  states: GraphState[];
}

/** `codec.json`; `antiphon/codec_manifest.py` describes it. */
export interface CodecManifest {
  format: number;
  fingerprint: string;
  sample_rate_hz: number;
  frame_samples: number;
  codebooks: number;
  cardinality: number;
  encoder: CodecGraph;
  decoder: CodecGraph;
}

const FORMAT = 1;

/** The manifest; rejects with an `Error` that says what is wrong. */
export async function fetchManifest(access: Access): Promise<CodecManifest> {
  const response = await access.fetch(new URL("codec/codec.json", access.base));
  const manifest: CodecManifest = await response.json();
  if (manifest.format > FORMAT) throw new Error("the codec is of a newer version: load the page again");
  return manifest;
}

/** The bytes of a graph, which the browser keeps under its SHA-256; rejects with an `Error` where they are others. */
export async function fetchGraph(access: Access, graph: CodecGraph): Promise<ArrayBuffer> {
  const url = new URL(`codec/${graph.file}`, access.base);
  url.searchParams.set("sha256", graph.sha256);
  const bytes = await (await access.fetch(url)).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 !== graph.sha256.toLowerCase()) throw new Error(`${graph.file} is damaged: load the page again`);
  return bytes;
}
