// A frame's codes, one after the other: each is drawn before the next is thought of.
#pragma once

#include "layers.h"
#include "sampling.h"

namespace antiphon {

constexpr int64_t kUngenerated = -2;  // in place of a token that is drawn

struct Table {
    const void* vectors;  // [tokens, dim], float32 or bfloat16
    int64_t kind;
};

struct LayerNorm {
    const float *weight, *bias;  // [dim]
};

constexpr float kNormEps = 1e-5f;

struct Depformer {  // everything by codebook
    const Stack* stacks;
    const Matrix* inputs;   // [stack.dim, hidden]
    const Matrix* outputs;  // [cardinality, stack.dim]
    const Table* tables;    // of the token before
    const LayerNorm* norms;  // before the output; null for none
    int64_t codebooks;
};

template <class T>
inline void add_vector(const T* vector, int64_t dim, float* x) {
    for (int64_t i = 0; i < dim; ++i) x[i] += widen(vector[i]);
}

// x [dim] += the token's vector; a negative token has none.
inline void add_vector(const Table& table, int64_t token, int64_t dim, float* x) {
    if (token < 0) return;
    if (static_cast<Kind>(table.kind) == Kind::kFloat32) {
        add_vector(static_cast<const float*>(table.vectors) + token * dim, dim, x);
    } else {
        add_vector(static_cast<const uint16_t*>(table.vectors) + token * dim, dim, x);
    }
}

// x [dim] = its norm (Ba, Kiros, Hinton, "Layer normalization", 2016).
inline void normalize(const LayerNorm& norm, int64_t dim, float* x) {
    const float mean = sum(x, dim) / static_cast<float>(dim);
    for (int64_t i = 0; i < dim; ++i) x[i] -= mean;
    const float scale = 1.0f / std::sqrt(dot(x, x, dim) / static_cast<float>(dim) + kNormEps);
    for (int64_t i = 0; i < dim; ++i) x[i] = x[i] * scale * norm.weight[i] + norm.bias[i];
}

// See antiphon_codes.
inline void draw_codes(const Depformer& depformer, const KvPointers& kv, const float* hidden, const int64_t* text,
                       const int64_t* keys, const float* temperature, const int64_t* top_k, const int64_t* forced,
                       int64_t rows, int64_t threads, Workspace& work, int64_t* codes, float* logits) {
    work.spans.resize(rows);
    for (int64_t k = 0; k < depformer.codebooks; ++k) {
        const Stack& stack = depformer.stacks[k];
        const Matrix& output = depformer.outputs[k];
        const int64_t* before = k ? codes + (k - 1) * rows : text;
        float *x = reserve(work.x, rows * stack.dim), *found = logits + k * rows * output.outputs;
        multiply(threads, depformer.inputs[k], hidden, rows, stack.digits, work, x);
        for (int64_t row = 0; row < rows; ++row) {
            add_vector(depformer.tables[k], before[row], stack.dim, x + row * stack.dim);
            work.spans[row] = {row, k, 0, k + 1};
        }
        run(stack, kv, work.spans.data(), nullptr, rows, threads, work, x);
        for (int64_t row = 0; depformer.norms && row < rows; ++row) {
            normalize(depformer.norms[k], stack.dim, x + row * stack.dim);
        }
        multiply(threads, output, x, rows, stack.digits, work, found);
        for (int64_t row = 0; row < rows; ++row) {
            codes[k * rows + row] = draw(found + row * output.outputs, output.outputs,
                                         keys[row * depformer.codebooks + k], temperature[row], top_k[row],
                                         work.candidates);
            const int64_t wanted = forced ? forced[row * depformer.codebooks + k] : kUngenerated;
            if (wanted != kUngenerated) codes[k * rows + row] = wanted;
        }
    }
}

}  // namespace antiphon
