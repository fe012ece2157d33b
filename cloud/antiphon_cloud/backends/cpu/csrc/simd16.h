// Numbers of 16 bits side by side, and the sums of their products in 32 bits, by the widest instructions that the
// compiler may use. Integers are exact in any order: every variant gives the same sums.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "simd_f32.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace antiphon {

// Each variant has kInt16s numbers in `Int16s`, of whose products a lane of `Int32s` takes at most two an addition, and
// kRows rows of weights at once where there are many rows of activations: as many as its registers hold.

#if defined(ANTIPHON_PLAIN) || !defined(__SSE2__)  // the former for tests

typedef int16_t Int16s __attribute__((vector_size(16)));
typedef int32_t Int32s __attribute__((vector_size(32)));
constexpr int kInt16s = 8, kRows = 1;

inline Int32s nothing() { return Int32s{}; }
inline Int16s load_int16s(const int16_t* x) {
    Int16s found;
    std::memcpy(&found, x, sizeof found);
    return found;
}
inline Int16s load_int16s(const int8_t* x) {
    Int8s bytes;
    std::memcpy(&bytes, x, sizeof bytes);
    return __builtin_convertvector(bytes, Int16s);
}
inline Int32s add_products(Int32s sum, Int16s x, Int16s y) {
    return sum + __builtin_convertvector(x, Int32s) * __builtin_convertvector(y, Int32s);
}
inline int64_t total(Int32s sum) {
    int64_t all = 0;
    for (int i = 0; i < kInt16s; ++i) all += sum[i];
    return all;
}

#elif defined(__AVX512VNNI__) && defined(__AVX512BW__)

typedef __m512i Int16s, Int32s;
constexpr int kInt16s = 32, kRows = 2;

inline Int32s nothing() { return _mm512_setzero_si512(); }
inline Int16s load_int16s(const int16_t* x) { return _mm512_loadu_si512(x); }
inline Int16s load_int16s(const int8_t* x) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline Int32s add_products(Int32s sum, Int16s x, Int16s y) {  // GCC 12 copies what the intrinsic returns, and spills
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}
inline int64_t total(Int32s sum) {
    return _mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum)),
                                                    _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum, 1))));
}

#elif defined(__AVX2__)

typedef __m256i Int16s, Int32s;
constexpr int kInt16s = 16, kRows = 1;

inline Int32s nothing() { return _mm256_setzero_si256(); }
inline Int16s load_int16s(const int16_t* x) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)); }
inline Int16s load_int16s(const int8_t* x) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
inline Int32s add_products(Int32s sum, Int16s x, Int16s y) {
#if defined(__AVXVNNI__)
    return _mm256_dpwssd_avx_epi32(sum, x, y);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
#endif
}
inline int64_t total(Int32s sum) {
    const __m256i fours = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(sum)),
                                           _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sum, 1)));
    const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    return _mm_extract_epi64(pair, 0) + _mm_extract_epi64(pair, 1);
}

#else

typedef __m128i Int16s, Int32s;
constexpr int kInt16s = 8, kRows = 1;

inline Int32s nothing() { return _mm_setzero_si128(); }
inline Int16s load_int16s(const int16_t* x) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)); }
inline Int16s load_int16s(const int8_t* x) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
inline Int32s add_products(Int32s sum, Int16s x, Int16s y) { return _mm_add_epi32(sum, _mm_madd_epi16(x, y)); }
inline int64_t total(Int32s sum) {
    int32_t parts[4];
    std::memcpy(parts, &sum, sizeof parts);
    return int64_t{parts[0]} + parts[1] + parts[2] + parts[3];
}

#endif

}  // namespace antiphon
