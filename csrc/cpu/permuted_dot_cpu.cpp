// Threads over permutations; the lanes of a row are what the vector units add side by side.
#include "../permuted_dot.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../checks.h"
#include "checked_permutations.h"
#include "for_each.h"
#include "read_once.h"
#include "vector_clones.h"

namespace semconv {
namespace {

SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS double permuted_dot_one(const double* x, const double* y, const int32_t* p,
                                                                     int64_t n) {
  double total = 0.0;
  for (int64_t i = 1; i < n; ++i) {
    const double* x_row = x + i * n;
    const double* y_row = y + static_cast<int64_t>(p[i]) * n;
    double lanes[kLanes] = {};  // as lane_sum, all lanes at once
    int64_t j = 0;
    for (; j + kLanes <= i; j += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x_row[j + lane] * y_row[p[j + lane]];
    }
    for (int64_t lane = 0; j < i; ++j, ++lane) lanes[lane] += x_row[j] * y_row[p[j]];
    total += sum_of_lanes(lanes);
  }
  return total;
}

}  // namespace

at::Tensor permuted_dot_cpu(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations) {
  check_permuted_dot_shapes(x, y, permutations);
  check_memory({x, y, permutations});
  const at::Tensor xc = x.contiguous(), yc = y.contiguous();
  const at::Tensor pc = checked_permutations(permutations);
  const int64_t m = pc.size(0), n = pc.size(1);
  at::Tensor out = at::empty({m}, x.options());
  double* result = out.mutable_data_ptr<double>();
  for_each(m, [&](int64_t, int64_t row) {
    result[row] = permuted_dot_one(xc.const_data_ptr<double>(), yc.const_data_ptr<double>(),
                                   pc.const_data_ptr<int32_t>() + row * n, n);
  });
  return out;
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("permuted_dot", &permuted_dot_cpu); }

}  // namespace semconv
