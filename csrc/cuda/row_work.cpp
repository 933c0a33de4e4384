#include "row_work.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <tuple>

namespace semconv::cuda {

RowWork::RowWork(const ScannedCsr& a, int64_t n_features_b, int64_t k) : limits(device_limits()) {
  at::Tensor lengths;
  std::tie(lengths, order) = at::sort(a.stored, /*stable=*/true, /*dim=*/0, /*descending=*/true);
  n_columns = columns_per_pass(n_features_b, limits, k);
  part_size = part_postings(a.view.nnz, workers());
  // No more lists than this can be longer than a part.
  const int64_t most_long = std::min(a.view.n_features, a.view.nnz / part_size);
  const at::Tensor head = lengths.narrow(0, 0, most_long).to(at::kLong).cpu();
  long_lists.assign(head.const_data_ptr<int64_t>(), head.const_data_ptr<int64_t>() + most_long);
}

std::vector<QueuedLaunch> queue(const RowWork& work, const ScannedCsr& a, const PackedRows& rows,
                                const Postings& postings, const at::Tensor& variance_a, int64_t n_columns) {
  const at::TensorOptions options = a.indptr.options();
  static_assert(sizeof(Part) % sizeof(int64_t) == 0);
  std::vector<QueuedLaunch> out;
  const int64_t most_rows = std::max<int64_t>(1, work.limits.scratch_bytes / (8 * work.n_columns));
  for (Launch& launch : plan(work.long_lists, a.view.n_features, work.part_size, most_rows)) {
    const auto n_parts = static_cast<int64_t>(launch.parts.size());
    const auto n_words = static_cast<int64_t>(n_parts * sizeof(Part) / sizeof(int64_t));
    const at::Tensor on_host = at::from_blob(launch.parts.data(), {n_words}, at::TensorOptions().dtype(at::kLong));
    QueuedLaunch queued{
        {}, launch.n_rows, on_host.to(options.device(), at::kLong, false, true), at::zeros({1}, options)};
    queued.accumulation = {reinterpret_cast<const Posting*>(postings.entries.const_data_ptr<int64_t>()),
                           postings.offsets.const_data_ptr<int64_t>(),
                           reinterpret_cast<const Quad*>(rows.records.const_data_ptr<int32_t>()),
                           work.order.const_data_ptr<int64_t>(),
                           variance_a.defined() ? variance_a.const_data_ptr<double>() : nullptr,
                           reinterpret_cast<const Part*>(queued.parts.const_data_ptr<int64_t>()),
                           n_parts,
                           launch.first_whole,
                           launch.n_items(),
                           n_columns,
                           work.part_size,
                           static_cast<int>(lanes_per_posting(rows.records.numel() / 4, a.view.n_tokens)),
                           queued.next_item.mutable_data_ptr<int64_t>()};
    out.push_back(std::move(queued));
  }
  return out;
}

}  // namespace semconv::cuda
