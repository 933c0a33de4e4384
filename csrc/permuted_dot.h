// permuted_dot: inner products of one symmetric matrix with many row-and-column permutations of another.
#pragma once

#include <ATen/core/Tensor.h>

namespace semconv {

// x, y float64 [n, n] symmetric; permutations int32 [m, n], every row a permutation of 0..n-1.
// Returns float64 [m]: sum over j < i of x[i, j] * y[p[i], p[j]].
at::Tensor permuted_dot_cpu(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations);

}  // namespace semconv
