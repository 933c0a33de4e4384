// Two passes: the first reads the chunk and keeps one bit per value, the second reads the entries alone.
#include "../compact_rows.h"

#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "../checks.h"
#include "compact_rows_kernels.h"
#include "device.h"
#include "launch.h"

namespace semconv {
namespace {

using namespace cuda;

Float type_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? Float::k32 : x.scalar_type() == at::kHalf ? Float::k16 : Float::kBrain16;
}

at::Tensor checked_threshold(const at::Tensor& given) {
  at::Tensor threshold = given.contiguous();
  const at::Tensor bad = at::full({1}, kNoError, threshold.options().dtype(at::kLong));
  launch_each(CheckThreshold{threshold.const_data_ptr<float>(), bad.mutable_data_ptr<int64_t>()}, threshold.numel());
  const auto feature = bad.item<int64_t>();
  if (feature != kNoError) throw_bad_threshold(threshold[feature].item<float>(), feature);
  return threshold;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cuda(const at::Tensor& x, at::ScalarType dtype,
                                                                 const std::optional<at::Tensor>& threshold) {
  check_compact_rows(x, dtype, threshold);
  check_memory({x});
  if (threshold.has_value()) check_memory({x, *threshold});
  const DeviceScope scope(x);
  const at::Tensor dense = x.contiguous();
  const at::Tensor limits = threshold.has_value() ? checked_threshold(*threshold) : at::Tensor();
  const int64_t n_rows = x.size(0), n_columns = x.size(1);
  const at::TensorOptions counts = x.options().dtype(at::kLong);
  const at::Tensor marks =
      at::empty({n_rows, (n_columns + kMarkedColumns - 1) / kMarkedColumns}, x.options().dtype(at::kByte));
  // The running sum of the counts, and behind it where the first bad value is: one copy to the host for both.
  const at::Tensor totals = at::zeros({n_rows + 2}, counts);
  totals[n_rows + 1].fill_(kNoError);
  const at::Tensor row_counts = at::empty({n_rows}, counts);
  launch_blocks(MarkEntries{dense.const_data_ptr(), type_of(x), dtype == at::kHalf,
                            limits.defined() ? limits.const_data_ptr<float>() : nullptr, n_columns,
                            marks.mutable_data_ptr<uint8_t>(), row_counts.mutable_data_ptr<int64_t>(),
                            totals.mutable_data_ptr<int64_t>() + n_rows + 1},
                {n_rows, MarkEntries::kMaxThreads, 16});
  at::Tensor running = totals.narrow(0, 1, n_rows);
  at::cumsum_out(running, row_counts, 0);
  const at::Tensor ends = totals.narrow(0, n_rows, 2).cpu();
  const int64_t nnz = ends.const_data_ptr<int64_t>()[0], bad = ends.const_data_ptr<int64_t>()[1];
  if (bad != kNoError) {
    const at::Tensor value = dense[bad / n_columns][bad % n_columns];
    throw_unstorable(value.to(at::kFloat).item<float>(), dtype, bad / n_columns, bad % n_columns);
  }
  const at::Tensor indptr = totals.narrow(0, 0, n_rows + 1).clone();
  const at::Tensor indices = at::empty({nnz}, x.options().dtype(at::kInt));
  const at::Tensor values = at::empty({nnz}, x.options().dtype(dtype));
  launch_blocks(
      FillEntries{dense.const_data_ptr(), type_of(x), dtype == at::kHalf, n_columns, marks.const_data_ptr<uint8_t>(),
                  indptr.const_data_ptr<int64_t>(), indices.mutable_data_ptr<int32_t>(), values.mutable_data_ptr()},
      {n_rows, FillEntries::kMaxThreads, 8 * FillEntries::kMaxThreads});
  return {indptr, indices, values};
}

}  // namespace semconv
