// Blocks over permutations and rows; the sums keep the order of the CPU's.
#include "../permuted_dot.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "../checks.h"
#include "checked_permutations.h"
#include "device.h"
#include "launch.h"
#include "permuted_dot_kernels.h"

namespace semconv {
namespace {

using namespace cuda;

constexpr int64_t kScratchBytes = int64_t{1} << 28;  // for the sums of rows: how many permutations go at once

}  // namespace

at::Tensor permuted_dot_cuda(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations) {
  check_permuted_dot_shapes(x, y, permutations);
  check_memory({x, y, permutations});
  const DeviceScope scope(x);
  const at::Tensor xc = x.contiguous(), yc = y.contiguous(), pc = checked_permutations(permutations);
  const int64_t n = x.size(0), n_permutations = pc.size(0);
  const at::Tensor out = at::empty({n_permutations}, x.options());
  const int64_t at_once = std::max<int64_t>(1, kScratchBytes / (8 * n));
  for (int64_t first = 0; first < n_permutations; first += at_once) {
    const int64_t m = std::min(at_once, n_permutations - first);
    const at::Tensor row_sums = at::empty({n, m}, x.options());
    launch_blocks(PermutedRows{xc.const_data_ptr<double>(), yc.const_data_ptr<double>(),
                               pc.const_data_ptr<int32_t>() + first * n, n, m, row_sums.mutable_data_ptr<double>()},
                  {(n + PermutedRows::kRows - 1) / PermutedRows::kRows * m, PermutedRows::kMaxThreads,
                   8 * PermutedRows::kMaxThreads});
    launch_each(SumRows{row_sums.const_data_ptr<double>(), n, m, out.mutable_data_ptr<double>() + first}, m);
  }
  return out;
}

}  // namespace semconv
