// Products of a few rows of activations with a matrix of int8 weights.
//
// Activations become 14-bit integers, relative to the largest of their row; weights times activations are summed as
// integers, which is exact in any order: a row comes out the same to the bit in a batch of any size, on any number of
// threads and with any instruction set. Each weight is read from memory once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "simd_f32.h"
#include "thread_pool.h"
#include "simd16.h"

namespace antiphon {

struct LowRank;

struct Matrix {
    const int8_t* weight;  // [outputs, inputs]
    const float* scale;    // [outputs]
    int64_t outputs, inputs;
    const LowRank* beside;  // of adapters; null where the model has room for none
};

constexpr int32_t kLevels = 8191;       // of an activation, on either side of zero
constexpr int64_t kPadding = 64;        // entries to which rows of activations are rounded up
constexpr int64_t kBlockBytes = 16384;  // of weights that several tiles of rows pass over: half a first-level cache
constexpr int64_t kPieceBytes = 65536;  // of weights that a thread takes at a time
constexpr int64_t kPrefetch = 2048;     // bytes ahead of a stream

inline int64_t padded(int64_t n) { return (n + kPadding - 1) / kPadding * kPadding; }

// The largest absolute value; not a number if any is none.
inline float largest(const float* x, int64_t n) {
    int32_t high = 0;  // as integers, positive floats keep their order, and NaN comes last
    for (int64_t i = 0; i < n; ++i) high = std::max(high, bits<int32_t>(x[i]) & 0x7FFFFFFF);
    return bits<float>(high);
}

// Rows of activations as integers: x ≈ scale * (high + low / (2 * kLevels)).
struct Rows {
    int16_t* values;   // [digits * rows, padded(inputs)]: high digits, then low ones
    float* scales;     // [rows]
    int64_t rows, inputs, digits;
};

inline void quantize_row(const float* x, Rows& to, int64_t row) {
    const int64_t n = to.inputs, wide = padded(n);
    const float high = largest(x, n), scale = high / kLevels;
    const float inverse = high > 1e-30f ? kLevels / high : 0.0f;
    int16_t* values = to.values + row * wide;
    to.scales[row] = high > 1e-30f || high != high ? scale : 0.0f;
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<int16_t>(nearest(x[i] * inverse));
    std::fill(values + n, values + wide, int16_t{0});
    if (to.digits == 1) return;
    int16_t* low = values + to.rows * wide;
    for (int64_t i = 0; i < n; ++i) {
        low[i] = static_cast<int16_t>(nearest((x[i] * inverse - static_cast<float>(values[i])) * (2 * kLevels)));
    }
    std::fill(low + n, low + wide, int16_t{0});
}

// Int32s of R rows of weights, `apart` bytes from one to the next, with each of M rows of activations.
template <int R, int M>
inline void sums(const int8_t* weight, int64_t apart, const int16_t* rows, int64_t wide, int64_t inputs,
                 int64_t (&totals)[R][M]) {
    constexpr int64_t kSafe = 512 * kInt16s;  // inputs whose sums fit 32 bits: 1,024 products of 8,191 and 128 a lane
    for (auto& row : totals) std::fill(row, row + M, int64_t{0});
    int64_t k = 0;
    while (k + kPadding <= inputs) {
        const int64_t end = std::min(inputs / kPadding * kPadding, k + kSafe);
        Int32s sum[R][M];
        for (auto& row : sum) std::fill(row, row + M, nothing());
        for (; k < end; k += kPadding) {
            if (R == 1 || M == 4) {  // a thread's streams are too few, or too slow, for the processor's own prefetching
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) __builtin_prefetch(weight + r * apart + k + kPrefetch);
            }
#pragma GCC unroll 8
            for (int j = 0; j < kPadding; j += kInt16s) {
                Int16s w[R];
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) w[r] = load_int16s(weight + r * apart + k + j);
#pragma GCC unroll 4
                for (int m = 0; m < M; ++m) {
                    const Int16s x = load_int16s(rows + m * wide + k + j);
#pragma GCC unroll 4
                    for (int r = 0; r < R; ++r) sum[r][m] = add_products(sum[r][m], w[r], x);
                }
            }
        }
        for (int r = 0; r < R; ++r) {
            for (int m = 0; m < M; ++m) totals[r][m] += total(sum[r][m]);
        }
    }
    for (; k < inputs; ++k) {
        for (int r = 0; r < R; ++r) {
            for (int m = 0; m < M; ++m) totals[r][m] += int64_t{weight[r * apart + k]} * rows[m * wide + k];
        }
    }
}

// A part of a product: outputs n, n + stride, ... (R of them) for `count` values of n from the first, M rows.
template <int R, int M>
inline void tile(const Matrix& matrix, const Rows& x, int64_t row, int64_t first, int64_t count, int64_t stride,
                 float* y) {
    const int64_t wide = padded(x.inputs), outputs = matrix.outputs;
    for (int64_t n = first; n < first + count; ++n) {
        if (n + (R - 1) * stride >= outputs) {  // the last stream is shorter
            if constexpr (R > 1) {
                for (int64_t m = n; m < outputs; m += stride) tile<1, M>(matrix, x, row, m, 1, 0, y);
            }
            continue;
        }
        for (int64_t digit = 0; digit < x.digits; ++digit) {
            int64_t totals[R][M];
            sums<R, M>(matrix.weight + n * matrix.inputs, stride * matrix.inputs,
                       x.values + (digit * x.rows + row) * wide, wide, matrix.inputs, totals);
            for (int r = 0; r < R; ++r) {
                const int64_t output = n + r * stride;
                for (int m = 0; m < M; ++m) {
                    const float found =
                        static_cast<float>(totals[r][m]) * (matrix.scale[output] * x.scales[row + m]);
                    float& to = y[(row + m) * outputs + output];
                    to = digit == 0 ? found : to + found / (2 * kLevels);
                }
            }
        }
    }
}

// y [rows, outputs] = x · weightᵀ · scale, from R places of the matrix at once: several streams keep the memory busier
// than one does, as long as a few rows are multiplied; beyond, registers are better spent on rows.
template <int R>
inline void streams(ThreadPool& pool, int64_t threads, const Matrix& matrix, const Rows& x, float* y) {
    const int64_t stride = (matrix.outputs + R - 1) / R;
    const int64_t block = std::max<int64_t>(1, kBlockBytes / (R * matrix.inputs));
    const int64_t piece = std::max<int64_t>(1, kPieceBytes / (R * block * matrix.inputs)) * block;
    pool.run(threads, (stride + piece - 1) / piece, [&](int64_t i) {
        const int64_t end = std::min(stride, (i + 1) * piece);
        for (int64_t n = i * piece; n < end; n += block) {
            const int64_t count = std::min(block, end - n);
            int64_t row = 0;
            if constexpr (R <= kRows) {
                for (; row + 4 <= x.rows; row += 4) tile<R, 4>(matrix, x, row, n, count, stride, y);
            }
            if constexpr (R <= 2) {
                for (; row + 2 <= x.rows; row += 2) tile<R, 2>(matrix, x, row, n, count, stride, y);
            }
            for (; row < x.rows; ++row) tile<R, 1>(matrix, x, row, n, count, stride, y);
        }
    });
}

inline void int8_matmul(ThreadPool& pool, int64_t threads, const Matrix& matrix, const Rows& x, float* y) {
    if (x.rows == 1) streams<4>(pool, threads, matrix, x, y);
    else if (x.rows < 4) streams<2>(pool, threads, matrix, x, y);
    else streams<kRows>(pool, threads, matrix, x, y);
}

}  // namespace antiphon
