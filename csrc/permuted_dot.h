// permuted_dot: inner products of one symmetric matrix with many row-and-column permutations of another.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace at {
class Tensor;
}

namespace semconv {

// One row's products are added up in this many partial sums, those whole, and then the rows in order: what makes the
// result the same on every device. Lane l takes the columns l, l + kLanes, ... below i.
inline constexpr int64_t kLanes = 8;

SEMCONV_HD inline double lane_sum(const double* x_row, const double* y_row, const int32_t* p, int64_t i, int64_t lane) {
  double sum = 0.0;
  for (int64_t j = lane; j < i; j += kLanes) sum += x_row[j] * y_row[p[j]];
  return sum;
}

SEMCONV_HD inline double sum_of_lanes(const double* lanes) {
  double sum = lanes[0];
  for (int64_t lane = 1; lane < kLanes; ++lane) sum += lanes[lane];
  return sum;
}

// x, y float64 [n, n] symmetric; permutations int32 [m, n], every row a permutation of 0..n-1.
// Returns float64 [m]: sum over j < i of x[i, j] * y[p[i], p[j]].
at::Tensor permuted_dot_cpu(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations);
at::Tensor permuted_dot_cuda(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations);

}  // namespace semconv
