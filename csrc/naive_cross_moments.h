// naive_cross_moments_: what a first kernel for cross_moments_ would be, every product an atomic add to global memory.
// A peer of `semconv bench --device cuda`, for nothing else.
#pragma once

#include <cstdint>

namespace at {
class Tensor;
}

namespace semconv {

// The contract of cross_moments_ (cross_moments.h), to the same integers.
void naive_cross_moments_cuda_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                               const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                               const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits);

}  // namespace semconv
