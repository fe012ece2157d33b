// Where a frame's time goes in onnxruntime's WebAssembly: operator by operator, in Node, with one thread as in the page.
//
//     node tools/bench/wasm_profile.mjs CODEC_DIR [FRAMES]
//
// Needs `make page`. Of each node of the graphs the tenth percentile of its times counts, which a busy machine lengthens
// least. Then what is copied between JavaScript and WebAssembly with each frame, the states of both halves, and how long
// that takes by itself.
import fs, { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../../gateway/page/node_modules/onnxruntime-web/dist/", import.meta.url));
const ort = await import(join(dist, "ort.wasm.min.mjs"));
const [, , folder, asked = "40"] = process.argv;
const WARM_UP = 10;
const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array };
const told = []; // onnxruntime writes its profile to standard output, and warnings to standard error
const write = fs.writeSync;
fs.writeSync = (file, text, ...rest) => (file === 1 ? told.push(String(text)) : file === 2 || write(file, text, ...rest));
const print = (line) => write(1, `${line}\n`);
Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: readFileSync(join(dist, "ort-wasm-simd-threaded.wasm")) });

function tensor(type, shape, fill = () => 0) {
  const data = new ARRAYS[type](shape.reduce((product, side) => product * side, 1));
  return new ort.Tensor(type, type === "int64" ? data : data.map(fill), shape);
}

const tenth = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 10)];

/** The milliseconds in which as many bytes go into another memory, and come out of it as new arrays. */
function copying(sizes) {
  const memory = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let arrays = sizes.map((size) => new Uint8Array(size));
  const times = Array.from({ length: 30 }, () => {
    const began = performance.now();
    let at = 0;
    for (const array of arrays) memory.set(array, (at += array.length) - array.length);
    at = 0;
    arrays = sizes.map((size) => memory.slice(at, (at += size)));
    return performance.now() - began;
  });
  return tenth(times);
}

/** Runs a half so often; returns the bytes of each of its states. */
async function run(half, graph, source) {
  const options = { executionProviders: ["wasm"], enableProfiling: true };
  const session = await ort.InferenceSession.create(readFileSync(join(folder, `${half}.onnx`)), options);
  let states = Object.fromEntries(graph.states.map(({ input, dtype, shape }) => [input, tensor(dtype, shape)]));
  for (let frame = 0; frame < WARM_UP + Number(asked); frame++) {
    const results = await session.run({ [graph.input]: source(), ...states });
    states = Object.fromEntries(graph.states.map(({ input, output }) => [input, results[output]]));
  }
  session.endProfiling();
  return Object.values(states).map(({ data }) => data.byteLength);
}

/** The operators of what was told, with their milliseconds a frame. */
function operators() {
  const nodes = new Map();
  for (const line of told.splice(0).join("").split("\n")) {
    if (!line.includes("_kernel_time")) continue;
    const { name, dur, args } = JSON.parse(line.trim().replace(/^\[/, "").replace(/[,\]]+$/, ""));
    const node = nodes.get(name) ?? { operator: args.op_name, times: [] };
    node.times.push(dur);
    nodes.set(name, node);
  }
  const sums = new Map();
  for (const { operator, times } of nodes.values()) {
    sums.set(operator, (sums.get(operator) ?? 0) + tenth(times.slice(WARM_UP)) / 1e3);
  }
  return sums;
}

const { encoder, decoder, codebooks } = JSON.parse(readFileSync(join(folder, "codec.json"), "utf8"));
const sound = () => tensor("float32", [1920], () => 0.2 * Math.random() - 0.1);
const codes = () => tensor("int32", [codebooks], () => Math.floor(2048 * Math.random()));
for (const [half, graph, source] of [["encoder", encoder, sound], ["decoder", decoder, codes]]) {
  const sizes = await run(half, graph, source);
  const sums = [...operators()].sort((a, b) => b[1] - a[1]);
  const total = sums.reduce((sum, [, ms]) => sum + ms, 0);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const copied = `${(bytes / 1e6).toFixed(1)} MB of states in and out in ${copying(sizes).toFixed(1)} ms`;
  print(`${half}: ${total.toFixed(1)} ms in operators, ${copied}`);
  for (const [operator, ms] of sums.slice(0, 6)) print(`  ${operator.padEnd(24)}${ms.toFixed(1).padStart(6)} ms`);
}
process.exit(0); // onnxruntime keeps Node awake
