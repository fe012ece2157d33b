// A stack of transformer layers for a few rows: everything between a step's embeddings and its logits.
#pragma once

#include <vector>

#include "attention.h"
#include "int8_matmul.h"
#include "low_rank.h"
#include "sampling.h"
#include "thread_pool.h"

namespace antiphon {

struct Layer {
    const float *norm1, *norm2;  // [dim]
    Matrix in_proj;              // [3 * dim, dim]: queries, keys, values
    Matrix out_proj;             // [dim, dim]
    Matrix linear_in;            // [2 * hidden, dim]: gates, values
    Matrix linear_out;           // [dim, hidden]
};

struct Stack {
    const Layer* layer;
    int64_t layers, dim, heads, digits;
    float eps;
};

inline ThreadPool& pool() {
    static ThreadPool* threads = new ThreadPool;  // never destroyed: its threads may outlive main
    return *threads;
}

constexpr int64_t kWorthSharing = 16384;  // numbers that attention reads: fewer take less time than calling for help

// Buffers that a thread keeps from call to call.
struct Workspace {
    std::vector<float> x, normed, wide, out, scores, scales, reduced;
    std::vector<int16_t> values;
    std::vector<KvSpan> spans;
    RowsByPlace adapted;  // of the call
    Candidates candidates;

    Rows rows(int64_t count, int64_t inputs, int64_t digits) {
        values.resize(std::max<size_t>(values.size(), digits * count * padded(inputs)));
        scales.resize(std::max<size_t>(scales.size(), count));
        return {values.data(), scales.data(), count, inputs, digits};
    }
};

inline float* reserve(std::vector<float>& work, int64_t n) {
    if (work.size() < static_cast<size_t>(n)) work.resize(n);
    return work.data();
}

inline void norm(const float* x, const float* alpha, float eps, int64_t n, float* y) {
    const float scale = 1.0f / std::sqrt(dot(x, x, n) / static_cast<float>(n) + eps);
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * (alpha[i] * scale);
}

// y [rows, outputs] = x [rows, inputs] · weightᵀ · scale, and what adapters add.
inline void multiply(int64_t threads, const Matrix& matrix, const float* x, int64_t rows, int64_t digits,
                     Workspace& work, float* y) {
    Rows quantized = work.rows(rows, matrix.inputs, digits);
    for (int64_t row = 0; row < rows; ++row) quantize_row(x + row * matrix.inputs, quantized, row);
    int8_matmul(pool(), threads, matrix, quantized, y);
    if (!matrix.beside || work.adapted.groups.empty()) return;
    float* reduced = reserve(work.reduced, rows * matrix.beside->rank);
    add_adapters(pool(), threads, *matrix.beside, work.adapted, x, matrix.inputs, matrix.outputs, reduced, y);
}

inline void add(float* x, const float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

template <class T>
inline void attention(int64_t threads, const KvPointers& kv, int64_t layer, const KvSpan* spans, int64_t rows,
                      float* qkv, const float* rotation, Workspace& work, float* out) {
    const int64_t width = kv.width, dim = kv.heads * width;
    float* scores = reserve(work.scores, kv.heads * kv.entries);
    const float size = 1.0f / std::sqrt(static_cast<float>(width));
    int64_t entries = 0;
    for (int64_t row = 0; row < rows; ++row) entries += spans[row].length;
    // By heads, not by rows: a row may read what the one before it writes.
    pool().run(entries * dim < kWorthSharing ? 1 : threads, kv.heads, [&](int64_t h) {
        for (int64_t row = 0; row < rows; ++row) {
            float *q = qkv + row * 3 * dim + h * width, *k = q + dim, *v = k + dim;
            if (rotation) {
                const float *cosines = rotation + row * width / 2, *sines = cosines + rows * width / 2;
                rotate(q, cosines, sines, width);
                rotate(k, cosines, sines, width);
            }
            for (int64_t d = 0; d < width; ++d) q[d] *= size;
            head<T>(kv, layer, spans[row], h, q, k, v, scores + h * kv.entries, out + row * dim + h * width);
        }
    });
}

// Runs the layers on x [rows, dim], in place; rotation is [2, rows, width / 2] cosines and sines, or null.
inline void run(const Stack& stack, const KvPointers& kv, const KvSpan* spans, const float* rotation, int64_t rows,
                int64_t threads, Workspace& work, float* x) {
    const int64_t dim = stack.dim, digits = stack.digits;
    for (int64_t l = 0; l < stack.layers; ++l) {
        const Layer& layer = stack.layer[l];
        const int64_t hidden = layer.linear_out.inputs;
        float* normed = reserve(work.normed, rows * std::max(dim, hidden));
        float* wide = reserve(work.wide, rows * std::max(3 * dim, 2 * hidden));
        float* out = reserve(work.out, rows * dim);

        for (int64_t row = 0; row < rows; ++row) norm(x + row * dim, layer.norm1, stack.eps, dim, normed + row * dim);
        multiply(threads, layer.in_proj, normed, rows, digits, work, wide);
        switch (static_cast<Kind>(kv.kind)) {
            case Kind::kFloat32: attention<float>(threads, kv, l, spans, rows, wide, rotation, work, normed); break;
            case Kind::kBfloat16: attention<uint16_t>(threads, kv, l, spans, rows, wide, rotation, work, normed); break;
            case Kind::kInt8: attention<int8_t>(threads, kv, l, spans, rows, wide, rotation, work, normed); break;
        }
        multiply(threads, layer.out_proj, normed, rows, digits, work, out);
        add(x, out, rows * dim);

        for (int64_t row = 0; row < rows; ++row) norm(x + row * dim, layer.norm2, stack.eps, dim, normed + row * dim);
        multiply(threads, layer.linear_in, normed, rows, digits, work, wide);
        for (int64_t row = 0; row < rows; ++row) {
            float *gate = wide + row * 2 * hidden, *value = gate + hidden, *y = normed + row * hidden;
            each(gate, hidden, [](Floats x) { return x / (exponential(-x) + 1.0f); });  // SiLU
            for (int64_t i = 0; i < hidden; ++i) y[i] = gate[i] * value[i];
        }
        multiply(threads, layer.linear_out, normed, rows, digits, work, out);
        add(x, out, rows * dim);
    }
}

}  // namespace antiphon
