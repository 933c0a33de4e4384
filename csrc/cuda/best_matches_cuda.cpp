// The walk of the CPU's best_matches with one row of accumulators in the shared memory of every multiprocessor.
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "../best_matches.h"
#include "../checks.h"
#include "launch.h"
#include "matcher.h"
#include "row_work.h"

namespace semconv {
namespace {

using namespace cuda;

// Adds up and matches the rows of one column block under one shift.
void match_rows(const RowWork& work, const ScannedCsr& a, const PackedRows& rows, const Postings& postings,
                const at::Tensor& variance_a, const Matching& matching) {
  for (const QueuedLaunch& launch : queue(work, a, rows, postings, variance_a, matching.n_columns)) {
    const at::Tensor sums = at::zeros({launch.n_rows, matching.n_columns}, a.indptr.options());
    const at::Tensor arrived = at::zeros({launch.n_rows}, a.indices.options());
    const SharedRows shared{sums.mutable_data_ptr<int64_t>(),
                            reinterpret_cast<uint32_t*>(arrived.mutable_data_ptr<int32_t>())};
    launch_blocks(MatchKernel{launch.accumulation, matching, shared},
                  {work.workers(), work.limits.threads, shared_bytes(matching.n_columns, work.limits.threads)});
  }
}

// One column block, for every shift: B is packed once.
void match_block(const ScannedCsr& a, const ScannedCsr& b, const RowWork& work, ColumnRange columns, int64_t k,
                 at::IntArrayRef shifts, const Moments& a_moments, const Moments& b_moments, const BestTensors& a_best,
                 const BestTensors& b_best) {
  const int64_t n_tokens = a.view.n_tokens;
  const PackedRows rows = pack_rows(b, columns, b_moments);
  for (size_t i = 0; i < shifts.size(); ++i) {
    const Postings postings = make_postings(a, rows, shifts[i], a_moments, /*wanted=*/columns.first == 0 && i == 0);
    // The moments of A are whole after the first postings, those of B in the columns packed so far.
    const SideStatistics a_statistics(a_moments.sum, a_moments.sum_squares, n_tokens, false);
    const SideStatistics b_statistics(b_moments.sum, b_moments.sum_squares, n_tokens, true);
    const Matcher matcher(a_statistics, b_statistics, n_tokens, columns.first, columns.count, k, work.workers(),
                          a_best.select(i));
    match_rows(work, a, rows, postings, a_statistics.variance, matcher.matching());
    matcher.join(b_best.select(i));
  }
}

// The six tensors of best_matches; index and r have a leading dimension for the shifts.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> match_shifted(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k) {
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  check_same_tokens(a_indptr, b_indptr);
  check_shifts(shifts, a_indptr.numel() - 1);
  check_k(k, n_features_a, n_features_b);
  check_memory({a_indptr, a_indices, a_values, b_indptr, b_indices, b_values});
  const DeviceScope scope(a_indptr);
  const ScannedCsr a = scan(a_indptr, a_indices, a_values, n_features_a);
  const ScannedCsr b = scan(b_indptr, b_indices, b_values, n_features_b);
  throw_if_bad(a, b);
  const at::TensorOptions options = a_indptr.options();
  const RowWork work(a, n_features_b, k);
  const Moments a_moments(n_features_a, options), b_moments(n_features_b, options);
  const auto n_shifts = static_cast<int64_t>(shifts.size());
  const BestTensors a_best({n_shifts, n_features_a, k}, options), b_best({n_shifts, n_features_b, k}, options);
  for (int64_t first = 0; first < n_features_b; first += work.n_columns) {
    match_block(a, b, work, {first, std::min(work.n_columns, n_features_b - first)}, k, shifts, a_moments, b_moments,
                a_best, b_best);
  }
  return {a_best.index,
          a_best.r,
          b_best.index,
          b_best.r,
          noise_of(a.active, a_moments.sum_squares),
          noise_of(b.active, b_moments.sum_squares)};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k) {
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_shifted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, {0}, k);
  return {a_index[0], a_r[0], b_index[0], b_r[0], a_noise, b_noise};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k) {
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] = match_shifted(
      a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, shifts, k);
  return {a_index, a_r, b_index, b_r};
}

}  // namespace semconv
