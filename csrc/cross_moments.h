// cross_moments_: adds one chunk of tokens to the sufficient statistics of a stream.
#pragma once

#include <cstdint>

#include "quantize.h"

namespace at {
class Tensor;
}

namespace semconv {

// Rows of the sums that are kept of every feature of one side, int64 [kFeatureSums, F].
enum FeatureSum : int64_t { kScaleExponent, kSum, kSumSquares, kActive, kSaturated, kFeatureSums };
inline constexpr int64_t kNoScale = INT64_MIN;  // scale exponent of a feature that was never active

// Whether any data can have these sums of codes, of which none is above 65535 and only an active one above 0.
SEMCONV_HD inline bool sums_are_possible(int64_t n_tokens, int64_t sum, int64_t sum_squares, int64_t active) {
  constexpr int64_t kLargest = 65535;
  return active >= 0 && active <= n_tokens && sum >= 0 && sum <= active * kLargest && sum_squares >= sum &&
         sum_squares <= sum * kLargest && scaled_variance(n_tokens, sum, sum_squares) >= 0;
}

// s_ab int64 [F_a, F_b], sums_a int64 [5, F_a] and sums_b int64 [5, F_b] are added to in place; the rest is CSR over
// the same tokens, as in best_matches. A feature that is active for the first time gets the smallest scale that its
// largest value in this chunk fits, times 2^headroom_bits; a later value beyond the scale counts as saturated.
void cross_moments_cpu_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                        const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                        const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits);
void cross_moments_cuda_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                         const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                         const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits);

}  // namespace semconv
