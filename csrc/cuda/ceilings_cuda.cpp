#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "../checks.h"
#include "../device_ceilings.h"
#include "ceilings_kernels.h"
#include "device.h"
#include "launch.h"

namespace semconv {

using namespace cuda;

std::tuple<at::Tensor, int64_t> shared_adds_cuda(const at::Tensor& like, int64_t n_features) {
  TORCH_CHECK_VALUE(n_features >= 1, "n_features must be at least 1, got ", n_features);
  const DeviceScope scope(like);
  const DeviceLimits limits = device_limits();
  const int64_t n_columns = columns_per_pass(n_features, limits, /*k=*/1);
  const int64_t n_rounds = std::max<int64_t>(1, kAddsPerColumn * n_columns / limits.threads);
  const at::Tensor sums = at::empty({limits.multiprocessors, n_columns}, like.options().dtype(at::kLong));
  launch_blocks(SharedAdds{n_columns, n_rounds, kSharedAddsProduct, sums.mutable_data_ptr<int64_t>()},
                {limits.multiprocessors, limits.threads, shared_bytes(n_columns, limits.threads)});
  return {sums, limits.multiprocessors * limits.threads * n_rounds};
}

at::Tensor gather_rows_cuda(const at::Tensor& rows, const at::Tensor& picks) {
  TORCH_CHECK_VALUE(rows.scalar_type() == at::kInt && rows.dim() == 2 && rows.size(1) % 4 == 0 && rows.is_contiguous(),
                    "rows must be contiguous int32 [n_rows, 4 quads], got ", rows.scalar_type(), " ", rows.sizes());
  TORCH_CHECK_VALUE(picks.scalar_type() == at::kInt && picks.dim() == 1 && picks.is_contiguous(),
                    "picks must be contiguous int32 [n], got ", picks.scalar_type(), " ", picks.sizes());
  check_memory({rows, picks});
  const DeviceScope scope(rows);
  const DeviceLimits limits = device_limits();
  const int64_t quads = rows.size(1) / 4, n_blocks = limits.multiprocessors * GatherRows::kBlocksPerMultiprocessor;
  const auto lanes = static_cast<int>(lanes_per_posting(rows.size(0) * quads, rows.size(0)));
  const at::Tensor sum = at::zeros({1}, rows.options().dtype(at::kLong));
  launch_blocks(
      GatherRows{reinterpret_cast<const Quad*>(rows.const_data_ptr<int32_t>()), picks.const_data_ptr<int32_t>(),
                 picks.numel(), quads, n_blocks, lanes, sum.mutable_data_ptr<int64_t>()},
      {n_blocks, std::min<int64_t>(limits.threads, GatherRows::kMaxThreads), 0});
  return sum;
}

}  // namespace semconv
