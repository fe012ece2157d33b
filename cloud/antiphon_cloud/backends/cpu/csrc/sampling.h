// Drawing tokens: the definition, and the reasons for it, are in sampling.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd_f32.h"

namespace antiphon {

constexpr uint64_t kGoldenGamma = 0x9E3779B97F4A7C15;
constexpr int kBinBits = 11;  // of a logit, by which the largest are found

struct Candidates {
    std::vector<int32_t> bins, tokens;
    std::vector<float> scores;
};

inline uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

// Integers in the order of the numbers.
inline uint32_t order(float x) {
    const uint32_t word = bits<uint32_t>(x);
    return word & 0x80000000 ? ~word : word | 0x80000000;
}

// The `count` tokens with the largest logits, in `work.tokens`; of equals, the first. O(n) whatever the logits are.
inline void keep_largest(const float* logits, int64_t n, int64_t count, Candidates& work) {
    const auto bin = [logits](int64_t i) { return order(logits[i]) >> (32 - kBinBits); };
    work.bins.assign(1 << kBinBits, 0);
    for (int64_t i = 0; i < n; ++i) ++work.bins[bin(i)];
    uint32_t lowest = 1 << kBinBits;
    for (int64_t found = 0; found < count;) found += work.bins[--lowest];
    work.tokens.clear();
    for (int64_t i = 0; i < n; ++i) {
        if (bin(i) >= lowest) work.tokens.push_back(static_cast<int32_t>(i));
    }
    std::nth_element(work.tokens.begin(), work.tokens.begin() + (count - 1), work.tokens.end(), [=](int a, int b) {
        const uint32_t x = order(logits[a]), y = order(logits[b]);
        return x != y ? x > y : a < b;
    });
    work.tokens.resize(count);
}

// A token drawn from the softmax of the `top_k` largest of n logits over the temperature; 0 takes the largest.
inline int64_t draw(const float* logits, int64_t n, int64_t key, float temperature, int64_t top_k, Candidates& work) {
    if (!(temperature > 0)) top_k = 1;
    keep_largest(logits, n, std::min(top_k, n), work);
    const size_t count = work.tokens.size();
    work.scores.resize(count);
    for (size_t i = 0; i < count; ++i) {
        const auto token = static_cast<uint64_t>(work.tokens[i]);
        const uint64_t noise = mix(static_cast<uint64_t>(key) + kGoldenGamma + token * kGoldenGamma) >> 41;
        work.scores[i] = (static_cast<float>(noise) + 0.5f) * 0x1p-23f;  // uniform in (0, 1)
    }
    each(work.scores.data(), count, [](Floats x) { return -logarithm(-logarithm(x)); });
    size_t best = 0;
    for (size_t i = 0; i < count; ++i) {
        work.scores[i] += logits[work.tokens[i]] / temperature;
        if (work.scores[i] > work.scores[best]) best = i;
    }
    return work.tokens[best];
}

}  // namespace antiphon
