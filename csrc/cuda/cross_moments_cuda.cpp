// The same walk as best_matches, but each row is added to its row of the int64 matrix.
#include "../cross_moments.h"
#include "cross_moments_kernels.h"
#include "launch.h"
#include "row_work.h"
#include "stream_sums.h"

namespace semconv {

using namespace cuda;

void cross_moments_cuda_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                         const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                         const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits) {
  const StreamChunk chunk(s_ab, sums_a, sums_b, {a_indptr, a_indices, a_values}, {b_indptr, b_indices, b_values},
                          headroom_bits);
  const ScannedCsr &a = chunk.a, &b = chunk.b;
  const int64_t n_features_a = s_ab.size(0), n_features_b = s_ab.size(1);
  const RowWork work(a, n_features_b, /*k=*/0);
  set_scales(a, sums_a, headroom_bits);
  set_scales(b, sums_b, headroom_bits);
  const Moments a_moments(n_features_a, s_ab.options()), b_moments(n_features_b, s_ab.options());
  for (int64_t first = 0; first < n_features_b; first += work.n_columns) {
    const ColumnRange columns{first, std::min(work.n_columns, n_features_b - first)};
    const PackedRows rows = pack_rows(b, columns, b_moments);
    const Postings postings = make_postings(a, rows, /*partner=*/nullptr, a_moments, /*wanted=*/first == 0);
    for (const QueuedLaunch& launch : queue(work, a, rows, postings, at::Tensor(), columns.count)) {
      launch_blocks(CrossMomentsKernel{launch.accumulation, s_ab.mutable_data_ptr<int64_t>(), n_features_b, first},
                    {work.workers(), work.limits.threads, shared_bytes(columns.count, work.limits.threads)});
    }
  }
  add_moments(a, a_moments, sums_a);
  add_moments(b, b_moments, sums_b);
}

}  // namespace semconv
