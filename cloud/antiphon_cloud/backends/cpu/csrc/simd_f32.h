// Eight floats side by side: sums in an order that the source fixes, so that no compiler, processor or batch changes a
// bit of them. (The compiler may fuse and reorder nothing: see the flags in library.py.)
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace antiphon {

template <class To, class From>
inline To bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To same;
    std::memcpy(&same, &value, sizeof same);
    return same;
}

constexpr int64_t kFloats = 8;
typedef float Floats __attribute__((vector_size(32)));
typedef uint32_t Uint32s __attribute__((vector_size(32)));
typedef uint16_t Uint16s __attribute__((vector_size(16)));
typedef int8_t Int8s __attribute__((vector_size(8)));

inline Floats load(const float* x) {
    Floats found;
    std::memcpy(&found, x, sizeof found);
    return found;
}

inline Floats load(const uint16_t* x) {  // bfloat16
    Uint16s halves;
    std::memcpy(&halves, x, sizeof halves);
    return bits<Floats>(__builtin_convertvector(halves, Uint32s) << 16);
}

inline Floats load(const int8_t* x) {
#if defined(__AVX2__)  // of the conversion below GCC makes one instruction after the other for each number
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
    Int8s bytes;
    std::memcpy(&bytes, x, sizeof bytes);
    return __builtin_convertvector(bytes, Floats);
#endif
}

inline float widen(float x) { return x; }
inline float widen(uint16_t x) { return bits<float>(static_cast<uint32_t>(x) << 16); }
inline float widen(int8_t x) { return static_cast<float>(x); }

inline float sum(Floats x) { return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7])); }

// x · y.
template <class T>
inline float dot(const float* x, const T* y, int64_t n) {
    Floats even{}, odd{};
    int64_t i = 0;
    for (; i + 2 * kFloats <= n; i += 2 * kFloats) {
        even += load(x + i) * load(y + i);
        odd += load(x + i + kFloats) * load(y + i + kFloats);
    }
    float total = sum(even + odd);
    for (; i < n; ++i) total += x[i] * widen(y[i]);
    return total;
}

inline float sum(const float* x, int64_t n) {
    Floats part{};
    int64_t i = 0;
    for (; i + kFloats <= n; i += kFloats) part += load(x + i);
    float total = sum(part);
    for (; i < n; ++i) total += x[i];
    return total;
}

// x = f(x), eight at a time.
template <class F>
inline void each(float* x, int64_t n, const F& f) {
    int64_t i = 0;
    for (; i + kFloats <= n; i += kFloats) {
        const Floats y = f(load(x + i));
        std::memcpy(x + i, &y, sizeof y);
    }
    if (i < n) {
        Floats rest{};
        std::memcpy(&rest, x + i, (n - i) * sizeof(float));
        rest = f(rest);
        std::memcpy(x + i, &rest, (n - i) * sizeof(float));
    }
}

// The nearest integer, for |x| < 2^22.
inline int32_t nearest(float x) { return bits<int32_t>(x + 12582912.0f) - 0x4B400000; }

// e^x to 2 units in the last place (polynomial of Cephes, Moshier 1989), for x up to 88; e^-87 below -87; NaN for NaN.
inline Floats exponential(Floats x) {
    x = x < -87.0f ? Floats{} - 87.0f : x;
    x = x > 88.0f ? Floats{} + 88.0f : x;
    const Floats shifted = x * 1.44269504f + 12582912.0f;
    const Uint32s turns = bits<Uint32s>(shifted) - 0x4B400000;
    const Floats whole = shifted - 12582912.0f;
    const Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * bits<Floats>((turns + 127) << 23);
}

// The natural logarithm of positive normal numbers, to 2 units in the last place (Cephes again).
inline Floats logarithm(Floats x) {
    const Uint32s word = bits<Uint32s>(x);
    Floats power = __builtin_convertvector(word >> 23, Floats) - 126.0f;
    Floats m = bits<Floats>((word & 0x007FFFFF) | 0x3F000000);  // x = m * 2^power
    const auto low = m < 0.707106781f;
    power = low ? power - 1.0f : power;
    m = (low ? m + m : m) - 1.0f;
    const Floats square = m * m;
    Floats p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * square - power * 2.12194440e-4f - square * 0.5f;
    return (m + p) + power * 0.693359375f;
}

}  // namespace antiphon
