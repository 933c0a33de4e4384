// Threads over permutations; eight fixed partial sums per permutation, so that the result does not depend on threads.
#include "../permuted_dot.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "../checks.h"
#include "for_each.h"
#include "vector_clones.h"

namespace semconv {
namespace {

constexpr int64_t kLanes = 8;

SEMCONV_VECTOR_CLONES
double permuted_dot_one(const double* x, const double* y, const int32_t* p, int64_t n) {
  double lanes[kLanes] = {};
  for (int64_t i = 1; i < n; ++i) {
    const double* x_row = x + i * n;
    const double* y_row = y + static_cast<int64_t>(p[i]) * n;
    int64_t j = 0;
    for (; j + kLanes <= i; j += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x_row[j + lane] * y_row[p[j + lane]];
    }
    for (; j < i; ++j) lanes[0] += x_row[j] * y_row[p[j]];
  }
  double total = 0.0;
  for (const double lane : lanes) total += lane;
  return total;
}

void check_permutations(const int32_t* permutations, int64_t m, int64_t n) {
  std::vector<bool> seen(n);
  for (int64_t row = 0; row < m; ++row) {
    std::fill(seen.begin(), seen.end(), false);
    for (int64_t i = 0; i < n; ++i) {
      const int32_t item = permutations[row * n + i];
      TORCH_CHECK_VALUE(item >= 0 && item < n && !seen[item], "permutations must be permutations of 0..", n - 1,
                        ", got ", item, " out of range or twice in row ", row);
      seen[item] = true;
    }
  }
}

}  // namespace

at::Tensor permuted_dot_cpu(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations) {
  check_dim(x, 2, "x", "[n, n]");
  const int64_t n = x.size(0);
  TORCH_CHECK_VALUE(n >= 1 && x.size(1) == n && y.sizes() == x.sizes(), "x and y must have shape [n, n], got ",
                    x.sizes(), " and ", y.sizes());
  TORCH_CHECK_VALUE(x.scalar_type() == at::kDouble && y.scalar_type() == at::kDouble, "x and y must be float64, got ",
                    x.scalar_type(), " and ", y.scalar_type());
  TORCH_CHECK_VALUE(permutations.dim() == 2 && permutations.size(1) == n && permutations.scalar_type() == at::kInt,
                    "permutations must be int32 [m, ", n, "], got ", permutations.scalar_type(), " ",
                    permutations.sizes());
  const at::Tensor xc = x.contiguous(), yc = y.contiguous(), pc = permutations.contiguous();
  const int64_t m = pc.size(0);
  check_permutations(pc.const_data_ptr<int32_t>(), m, n);
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
