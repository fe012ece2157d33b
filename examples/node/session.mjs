// A session over plain gRPC: sends a file of codes frame by frame and prints the model's text. No SDK is needed,
// nothing but the contract, proto/antiphon/v1/dialogue.proto.
//
//     antiphon-edge encode --codec "$(antiphon-edge pull)" --restart question.wav codes.npy
//     npm ci && node session.mjs localhost:50051 codes.npy
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../../proto/antiphon/v1/dialogue.proto", import.meta.url));

/** The frames of a file of `antiphon-edge encode`: arrays of codes, one a codebook. */
function readCodes(path) {
  const file = readFileSync(path);
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString("latin1", 10, start);
  const shape = header.match(/'descr': '<i4', 'fortran_order': False, 'shape': \((\d+), (\d+)\)/);
  if (!file.subarray(0, 7).equals(Buffer.from("\x93NUMPY\x01", "latin1")) || !shape) {
    throw new Error(`${path} holds no codes: an array of int32 [frames, codebooks]`);
  }
  const [frames, codebooks] = [Number(shape[1]), Number(shape[2])];
  return Array.from({ length: frames }, (_, t) =>
    Array.from({ length: codebooks }, (_, k) => file.readInt32LE(start + 4 * (t * codebooks + k))),
  );
}

/** A frame on the wire: each code in as few bits as hold any, high bit first, zero bits to the next byte. */
function pack(codes, cardinality) {
  const bits = Math.ceil(Math.log2(cardinality));
  const text = codes.map((code) => code.toString(2).padStart(bits, "0")).join("");
  return Buffer.from(text.match(/.{1,8}/g).map((byte) => parseInt(byte.padEnd(8, "0"), 2)));
}

const [address, path] = process.argv.slice(2);
const frames = readCodes(path);
const { antiphon } = grpc.loadPackageDefinition(protoLoader.loadSync(PROTO, { keepCase: true, defaults: true }));
const client = new antiphon.v1.DialogueService(address, grpc.credentials.createInsecure());

const served = await new Promise((resolve, reject) =>
  client.GetModel({}, (error, response) => (error ? reject(error) : resolve(response))),
);
const { user_codebooks: codebooks, cardinality } = served.model;

const call = client.Converse();
let next = 0; // the frame to send
let limit = 0; // of frames that wait for their replies
let answered = 0;

function send() {
  while (next < frames.length && next - answered < limit) {
    call.write({ codes: pack(frames[next].slice(0, codebooks), cardinality) });
    next += 1;
  }
}

call.on("data", (response) => {
  if (response.opened) {
    limit = response.opened.limits.max_frames_in_flight;
  } else if (response.closed) {
    console.log(`\n${response.closed.frames} frames`);
    return;
  } else if (!response.go_away) {
    process.stdout.write(response.text);
    answered += 1;
    if (answered === frames.length) call.write({ close: {} });
  }
  send();
});
call.on("error", (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
  client.close();
});
call.on("end", () => client.close());

call.write({ open: { codec_fingerprint: served.codec.fingerprint, seed: 7 } });
