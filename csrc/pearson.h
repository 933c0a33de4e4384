// correlation_from_moments and best_from_moments: what the sufficient statistics of a stream say.
#pragma once

#include <ATen/core/Tensor.h>
#include <tuple>

namespace semconv {

// s_ab int64 [F_a, F_b], sums_a int64 [5, F_a], sums_b int64 [5, F_b] as cross_moments_ leaves them.
// Returns r float64 [F_a, F_b], NaN where a feature never varies.
at::Tensor correlation_from_moments_cpu(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                                        int64_t n_tokens);
at::Tensor correlation_from_moments_cuda(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                                         int64_t n_tokens);

// The same inputs, 1 <= k <= min(F_a, F_b). Returns the six tensors of best_matches.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_from_moments_cpu(
    const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, int64_t n_tokens, int64_t k);
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_from_moments_cuda(
    const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, int64_t n_tokens, int64_t k);

}  // namespace semconv
