// Adapters: what is added to the products of rows that have one, in factors of a low rank.
//
// Rows of one adapter share the reading of its factors. A row's sums have one order, whoever shares its batch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "simd_f32.h"
#include "thread_pool.h"

namespace antiphon {

struct LowRank {  // beside one matrix [outputs, inputs], for each place
    const void* down;      // [places, rank, inputs], float32 or int8
    const void* up;        // [places, rank, outputs]
    const int64_t* ranks;  // [places]: how many of them are an adapter's
    const float* scales;   // [places, rank], of int8; else null
    int64_t rank;
};

constexpr int64_t kOutputs = 4096;  // of a piece: sums that stay in a near cache while the factors pass
constexpr int64_t kFactors = 4;     // that pass at once
constexpr int64_t kAhead = 512;     // bytes, of each
constexpr int64_t kLine = 16;       // numbers: a line of memory has as many or more

// Which rows of a batch have which adapter.
struct RowsByPlace {
    struct Group {
        int64_t place, first, count;  // the rows are order[first], ...
    };
    std::vector<int64_t> order;
    std::vector<Group> groups;  // none where no row has an adapter

    // places [rows], of which a negative one is none; or null.
    void set(const int64_t* places, int64_t rows) {
        order.clear();
        groups.clear();
        if (!places) return;
        for (int64_t row = 0; row < rows; ++row) {
            if (places[row] >= 0) order.push_back(row);
        }
        std::stable_sort(order.begin(), order.end(), [=](int64_t a, int64_t b) { return places[a] < places[b]; });
        for (int64_t i = 0; i < static_cast<int64_t>(order.size()); ++i) {
            const int64_t place = places[order[i]];
            if (groups.empty() || groups.back().place != place) groups.push_back({place, i, 0});
            ++groups.back().count;
        }
    }
};

// found [factors] = x [n] · y [factors, n], each as `dot` has it.
template <class T>
inline void dots(const float* x, const T* y, int64_t n, float* found) {
    Floats even[kFactors] = {}, odd[kFactors] = {};
    int64_t i = 0;
    for (; i + 2 * kFloats <= n; i += 2 * kFloats) {
        const Floats first = load(x + i), second = load(x + i + kFloats);
#pragma GCC unroll 4
        for (int f = 0; f < kFactors; ++f) {
            even[f] += first * load(y + f * n + i);
            odd[f] += second * load(y + f * n + i + kFloats);
        }
    }
    for (int f = 0; f < kFactors; ++f) {
        found[f] = sum(even[f] + odd[f]);
        for (int64_t j = i; j < n; ++j) found[f] += x[j] * widen(y[f * n + j]);
    }
}

// y [n] += weight [factors] · x [factors, stride].
template <class T, int F>
inline void add_factors(const float* weight, const T* x, int64_t stride, int64_t n, float* y) {
    int64_t i = 0;
    for (; i + kFloats <= n; i += kFloats) {
        Floats total = load(y + i);
        if (i % kLine == 0) {
#pragma GCC unroll 4
            for (int f = 0; f < F; ++f) __builtin_prefetch(x + f * stride + i + kAhead / sizeof(T));
        }
#pragma GCC unroll 4
        for (int f = 0; f < F; ++f) total += weight[f] * load(x + f * stride + i);
        std::memcpy(y + i, &total, sizeof total);
    }
    for (; i < n; ++i) {
        for (int f = 0; f < F; ++f) y[i] += weight[f] * widen(x[f * stride + i]);
    }
}

// Rows of one adapter: reduced [rows, rank] = x · down, of factors from the first to the end.
template <class T>
inline void reduce(const T* down, const int64_t* order, int64_t count, const float* x, int64_t inputs, int64_t first,
                   int64_t end, int64_t rank, const float* scales, float* reduced) {
    for (int64_t f = first; f < end;) {
        const int64_t some = f + kFactors <= end ? kFactors : 1;
        for (int64_t i = 0; i < count; ++i) {
            const float* row = x + order[i] * inputs;
            float* found = reduced + order[i] * rank + f;
            if (some == kFactors) dots(row, down + f * inputs, inputs, found);
            else *found = dot(row, down + f * inputs, inputs);
            for (int64_t j = 0; scales && j < some; ++j) found[j] *= scales[f + j];
        }
        f += some;
    }
}

// Rows of one adapter: y += reduced · up, of outputs from the first to the end.
template <class T>
inline void expand(const T* up, const int64_t* order, int64_t count, const float* reduced, int64_t factors,
                   int64_t rank, int64_t outputs, int64_t first, int64_t end, float* y) {
    for (int64_t n = first; n < end; n += kOutputs) {
        const int64_t some = std::min(kOutputs, end - n);
        for (int64_t f = 0; f < factors; f += kFactors) {
            for (int64_t i = 0; i < count; ++i) {
                const float* weight = reduced + order[i] * rank + f;
                float* to = y + order[i] * outputs + n;
                const T* from = up + f * outputs + n;
                switch (std::min(kFactors, factors - f)) {
                    case 1: add_factors<T, 1>(weight, from, outputs, some, to); break;
                    case 2: add_factors<T, 2>(weight, from, outputs, some, to); break;
                    case 3: add_factors<T, 3>(weight, from, outputs, some, to); break;
                    default: add_factors<T, kFactors>(weight, from, outputs, some, to);
                }
            }
        }
    }
}

template <class T>
inline void add_adapters(ThreadPool& pool, int64_t threads, const LowRank& beside, const RowsByPlace& by,
                         const float* x, int64_t inputs, int64_t outputs, float* reduced, float* y) {
    const int64_t groups = by.groups.size(), rank = beside.rank;
    const auto part = [&](const RowsByPlace::Group& group, int64_t first, int64_t end, bool down) {
        const int64_t* order = by.order.data() + group.first;
        const int64_t place = group.place * rank;
        if (down) {
            reduce(static_cast<const T*>(beside.down) + place * inputs, order, group.count, x, inputs, first, end, rank,
                   beside.scales ? beside.scales + place : nullptr, reduced);
        } else {
            expand(static_cast<const T*>(beside.up) + place * outputs, order, group.count, reduced,
                   beside.ranks[group.place], rank, outputs, first, end, y);
        }
    };
    if (threads <= 1 || groups % threads == 0 || groups >= 4 * threads) {  // a thread does all of an adapter
        pool.run(threads, groups, [&](int64_t i) {
            const auto& group = by.groups[i];
            part(group, 0, beside.ranks[group.place], true);
            part(group, 0, outputs, false);
        });
        return;
    }
    const int64_t pieces = (rank + kFactors - 1) / kFactors, blocks = (outputs + kOutputs - 1) / kOutputs;
    pool.run(threads, groups * pieces, [&](int64_t i) {
        const auto& group = by.groups[i / pieces];
        const int64_t first = i % pieces * kFactors, end = std::min(first + kFactors, beside.ranks[group.place]);
        if (first < end) part(group, first, end, true);
    });
    pool.run(threads, groups * blocks, [&](int64_t i) {
        const int64_t first = i % blocks * kOutputs;
        part(by.groups[i / blocks], first, std::min(first + kOutputs, outputs), false);
    });
}

// y [rows, outputs] += what the rows' adapters make of x [rows, inputs].
inline void add_adapters(ThreadPool& pool, int64_t threads, const LowRank& beside, const RowsByPlace& by,
                         const float* x, int64_t inputs, int64_t outputs, float* reduced, float* y) {
    if (beside.scales) add_adapters<int8_t>(pool, threads, beside, by, x, inputs, outputs, reduced, y);
    else add_adapters<float>(pool, threads, beside, by, x, inputs, outputs, reduced, y);
}

}  // namespace antiphon
