// The same walk as best_matches, but each row is added to its row of the int64 matrix.
#include "../checks.h"
#include "../cross_moments.h"
#include "cross_moments_kernels.h"
#include "launch.h"
#include "row_work.h"

namespace semconv {
namespace {

using namespace cuda;

int64_t* row_of(const at::Tensor& sums, FeatureSum row) {
  return sums.mutable_data_ptr<int64_t>() + row * sums.size(1);
}

const uint32_t* words(const at::Tensor& t) { return reinterpret_cast<const uint32_t*>(t.const_data_ptr<int32_t>()); }

void set_scales(const ScannedCsr& m, const at::Tensor& sums, int64_t headroom_bits) {
  launch_each(SetScales{m.view, words(m.max_bits), words(m.active), headroom_bits, row_of(sums, kScaleExponent),
                        m.inverse_scale.mutable_data_ptr<double>()},
              m.view.n_features);
}

void add_moments(const ScannedCsr& m, const Moments& moments, const at::Tensor& sums) {
  launch_each(AddSums{m.view.n_features, moments.sum.const_data_ptr<int64_t>(),
                      moments.sum_squares.const_data_ptr<int64_t>(), words(m.active), sums.mutable_data_ptr<int64_t>()},
              m.view.n_features);
  launch_each(CountSaturated{m.view, m.inverse_scale.const_data_ptr<double>(), row_of(sums, kSaturated)}, m.view.nnz);
}

}  // namespace

void cross_moments_cuda_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                         const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                         const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits) {
  check_stream_state(s_ab, sums_a, sums_b, headroom_bits);
  const int64_t n_features_a = s_ab.size(0), n_features_b = s_ab.size(1);
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  check_same_tokens(a_indptr, b_indptr);
  check_one_device({s_ab, sums_a, sums_b, a_indptr, a_indices, a_values, b_indptr, b_indices, b_values});
  const DeviceScope scope(s_ab);
  const ScannedCsr a = scan(a_indptr, a_indices, a_values, n_features_a);
  const ScannedCsr b = scan(b_indptr, b_indices, b_values, n_features_b);
  throw_if_bad(a, b);  // everything is checked before the state changes
  const RowWork work(a, n_features_b, /*k=*/0);
  set_scales(a, sums_a, headroom_bits);
  set_scales(b, sums_b, headroom_bits);
  const Moments a_moments(n_features_a, s_ab.options()), b_moments(n_features_b, s_ab.options());
  for (int64_t first = 0; first < n_features_b; first += work.n_columns) {
    const ColumnRange columns{first, std::min(work.n_columns, n_features_b - first)};
    const PackedRows rows = pack_rows(b, columns, b_moments);
    const Postings postings = make_postings(a, rows, /*shift=*/0, a_moments, /*wanted=*/first == 0);
    for (const QueuedLaunch& launch : queue(work, a, rows, postings, at::Tensor(), columns.count)) {
      launch_blocks(CrossMomentsKernel{launch.accumulation, s_ab.mutable_data_ptr<int64_t>(), n_features_b, first},
                    {work.workers(), work.limits.threads, shared_bytes(columns.count, work.limits.threads)});
    }
  }
  add_moments(a, a_moments, sums_a);
  add_moments(b, b_moments, sums_b);
}

}  // namespace semconv
