// One query a head over the entries that its session has written: rotary embedding, writing, softmax, sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd_f32.h"
#include "int8_matmul.h"

namespace antiphon {

enum class Kind : int64_t { kFloat32, kBfloat16, kInt8 };

struct KvPointers {
    void* keys;           // [layers, slots, heads, entries, width]; each head is that of a group of queries
    void* values;
    float* key_scales;    // [layers, slots, heads, entries], of int8
    float* value_scales;
    int64_t kind, slots, heads, entries, width;
};

struct KvSpan {  // what a row of the batch attends to
    int64_t slot, position, first, length;  // of the stores; the entry to write; the first entry to read; how many
};

inline void store(const float* x, int64_t n, float* to, float*) { std::copy(x, x + n, to); }

inline void store(const float* x, int64_t n, uint16_t* to, float*) {  // to the nearest, ties to even
    for (int64_t i = 0; i < n; ++i) {
        const uint32_t word = bits<uint32_t>(x[i]);
        const uint32_t rounded = (word + 0x7FFF + (word >> 16 & 1)) >> 16;
        to[i] = static_cast<uint16_t>(x[i] != x[i] ? 0x7FC0 : rounded);
    }
}

inline void store(const float* x, int64_t n, int8_t* to, float* scale) {
    *scale = largest(x, n) / 127;
    const float divisor = std::max(*scale, 1e-30f);
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<int8_t>(nearest(x[i] / divisor));
}

// Scores of `length` entries, from the first; returns the highest, or `high`.
template <class T>
inline float score(const float* q, const T* keys, const float* scales, int64_t length, int64_t width, float high,
                   float* scores) {
    for (int64_t s = 0; s < length; ++s) {
        scores[s] = dot(q, keys + s * width, width);
        if (scales) scores[s] *= scales[s];
        high = std::max(high, scores[s]);
    }
    return high;
}

// out [width] += weights · values of `length` entries.
template <class T>
inline void collect(float* weights, const T* values, const float* scales, int64_t length, int64_t width, float* out) {
    if (scales) {
        for (int64_t s = 0; s < length; ++s) weights[s] *= scales[s];
    }
    int64_t s = 0;
    for (; s + 4 <= length; s += 4) {
        const T *v0 = values + s * width, *v1 = v0 + width, *v2 = v1 + width, *v3 = v2 + width;
        const float p0 = weights[s], p1 = weights[s + 1], p2 = weights[s + 2], p3 = weights[s + 3];
        for (int64_t d = 0; d < width; ++d) {
            out[d] += p0 * widen(v0[d]) + p1 * widen(v1[d]) + p2 * widen(v2[d]) + p3 * widen(v3[d]);
        }
    }
    for (; s < length; ++s) {
        for (int64_t d = 0; d < width; ++d) out[d] += weights[s] * widen(values[s * width + d]);
    }
}

// Turns each pair of channels by its angle.
inline void rotate(float* x, const float* cosines, const float* sines, int64_t width) {
    for (int64_t i = 0; i < width / 2; ++i) {
        const float real = x[2 * i], imaginary = x[2 * i + 1];
        x[2 * i] = real * cosines[i] - imaginary * sines[i];
        x[2 * i + 1] = real * sines[i] + imaginary * cosines[i];
    }
}

template <class T>
struct Entries {  // of one head of one slot in one layer
    T *keys, *values;                   // [entries, width]
    float *key_scales, *value_scales;  // [entries], of int8

    Entries(const KvPointers& kv, int64_t layer, int64_t slot, int64_t head) {
        const int64_t begin = ((layer * kv.slots + slot) * kv.heads + head) * kv.entries;
        keys = static_cast<T*>(kv.keys) + begin * kv.width;
        values = static_cast<T*>(kv.values) + begin * kv.width;
        key_scales = kv.key_scales ? kv.key_scales + begin : nullptr;
        value_scales = kv.value_scales ? kv.value_scales + begin : nullptr;
    }
};

// Writes k and v [width] over one entry.
template <class T>
inline void append(const Entries<T>& to, int64_t position, int64_t width, const float* k, const float* v) {
    store(k, width, to.keys + position * width, to.key_scales ? to.key_scales + position : nullptr);
    store(v, width, to.values + position * width, to.value_scales ? to.value_scales + position : nullptr);
}

// out [width] = softmax(q [width] · keys) · values over the span, which may go round the end of so many entries.
template <class T>
inline void attend(const Entries<T>& held, const KvSpan& span, int64_t entries, int64_t width, const float* q,
                   float* scores, float* out) {
    const int64_t first = span.first, some = std::min(span.length, entries - first), rest = span.length - some;
    const auto from = [first](float* scales) { return scales ? scales + first : nullptr; };
    float high = score(q, held.keys + first * width, from(held.key_scales), some, width, -INFINITY, scores);
    high = score(q, held.keys, held.key_scales, rest, width, high, scores + some);
    each(scores, span.length, [high](Floats x) { return exponential(x - high); });
    const float total = sum(scores, span.length);
    std::fill(out, out + width, 0.0f);
    collect(scores, held.values + first * width, from(held.value_scales), some, width, out);
    collect(scores + some, held.values, held.value_scales, rest, width, out);
    for (int64_t d = 0; d < width; ++d) out[d] /= total;
}

}  // namespace antiphon
