// One kernel, three instruction sets, chosen when the program runs.
#include "data/image/weighted_sum.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace triptych {
namespace {

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

void sum_portable(const std::uint8_t* source, std::ptrdiff_t step, const std::int32_t* weights, int count,
                  std::uint8_t* out) {
  std::int32_t sums[kSumLanes];
  std::fill(sums, sums + kSumLanes, kHalf);
  for (int k = 0; k < count; ++k, source += step)
    for (int i = 0; i < kSumLanes; ++i) sums[i] += weights[k] * source[i];
  for (int i = 0; i < kSumLanes; ++i) out[i] = static_cast<std::uint8_t>(std::clamp(sums[i] >> kWeightBits, 0, 255));
}

#if defined(__x86_64__)

// Eight bytes to eight products, added.
__attribute__((target("avx2"))) inline __m256i add8(__m256i sum, const std::uint8_t* source, __m256i weight) {
  const __m256i pixels = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source)));
  return _mm256_add_epi32(sum, _mm256_mullo_epi32(pixels, weight));
}

// Sixteen sums to bytes; both packings saturate, which clips.
__attribute__((target("avx2"))) inline void store16(__m256i low, __m256i high, std::uint8_t* out) {
  low = _mm256_srai_epi32(low, kWeightBits);
  high = _mm256_srai_epi32(high, kWeightBits);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}

__attribute__((target("avx2"))) void sum_avx2(const std::uint8_t* source, std::ptrdiff_t step,
                                              const std::int32_t* weights, int count, std::uint8_t* out) {
  __m256i a = _mm256_set1_epi32(kHalf), b = a, c = a, d = a, e = a, f = a;
  for (int k = 0; k < count; ++k, source += step) {
    const __m256i weight = _mm256_set1_epi32(weights[k]);
    a = add8(a, source, weight);
    b = add8(b, source + 8, weight);
    c = add8(c, source + 16, weight);
    d = add8(d, source + 24, weight);
    e = add8(e, source + 32, weight);
    f = add8(f, source + 40, weight);
  }
  store16(a, b, out);
  store16(c, d, out + 16);
  store16(e, f, out + 32);
}

__attribute__((target("avx512f"))) inline __m512i add16(__m512i sum, const std::uint8_t* source, __m512i weight) {
  const __m512i pixels = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
  return _mm512_add_epi32(sum, _mm512_mullo_epi32(pixels, weight));
}

__attribute__((target("avx512f"))) inline void store16(__m512i sum, std::uint8_t* out) {
  const __m512i values = _mm512_max_epi32(_mm512_srai_epi32(sum, kWeightBits), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtusepi32_epi8(values));  // saturates at 255
}

__attribute__((target("avx512f"))) void sum_avx512(const std::uint8_t* source, std::ptrdiff_t step,
                                                   const std::int32_t* weights, int count, std::uint8_t* out) {
  __m512i a = _mm512_set1_epi32(kHalf), b = a, c = a;
  for (int k = 0; k < count; ++k, source += step) {
    const __m512i weight = _mm512_set1_epi32(weights[k]);
    a = add16(a, source, weight);
    b = add16(b, source + 16, weight);
    c = add16(c, source + 32, weight);
  }
  store16(a, out);
  store16(b, out + 16);
  store16(c, out + 32);
}

#endif

}  // namespace

std::vector<WeightedSumKernel> weighted_sum_kernels() {
  std::vector<WeightedSumKernel> kernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) kernels.push_back({"avx512f", sum_avx512});
  if (__builtin_cpu_supports("avx2")) kernels.push_back({"avx2", sum_avx2});
#endif
  kernels.push_back({"portable", sum_portable});
  return kernels;
}

}  // namespace triptych
