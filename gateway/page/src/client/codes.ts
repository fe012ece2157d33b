/** Codes as bits: `ceil(log2(cardinality))` each, codebook by codebook, high bit first, zero bits to the next byte. */
import { brokenContract } from "./errors.ts";

export class CodePacker {
  readonly bits: number;
  readonly bytes: number;

  constructor(
    readonly codebooks: number,
    readonly cardinality: number,
  ) {
    this.bits = 32 - Math.clz32(cardinality - 1);
    this.bytes = Math.ceil((codebooks * this.bits) / 8);
  }

  /** The bytes of a frame's `codes` [codebooks]. */
  pack(codes: Int32Array): Uint8Array {
    const packed = new Uint8Array(this.bytes);
    let bit = 0;
    for (const code of codes) {
      for (let b = this.bits - 1; b >= 0; b--, bit++) packed[bit >> 3]! |= ((code >> b) & 1) << (7 - (bit & 7));
    }
    return packed;
  }

  /** The codes [codebooks] of a frame; throws an `EdgeError` at a wrong length or a code out of range. */
  unpack(packed: Uint8Array): Int32Array {
    if (packed.length !== this.bytes) throw brokenContract(`a reply of ${packed.length} bytes, not ${this.bytes}`);
    const codes = new Int32Array(this.codebooks);
    for (let k = 0, bit = 0; k < this.codebooks; k++) {
      let code = 0;
      for (let b = 0; b < this.bits; b++, bit++) code = (code << 1) | ((packed[bit >> 3]! >> (7 - (bit & 7))) & 1);
      if (code >= this.cardinality) throw brokenContract(`code ${code} of codebook ${k} is out of range`);
      codes[k] = code;
    }
    return codes;
  }
}
