// The walk of the CPU's best_matches with one row of accumulators in the shared memory of every multiprocessor.
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "../best_matches.h"
#include "../checks.h"
#include "checked_permutations.h"
#include "launch.h"
#include "matcher.h"
#include "row_work.h"

namespace semconv {
namespace {

using namespace cuda;

// Adds up and matches the rows of one column block under one permutation.
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

// Which token of B each token of A meets under circular shifts, int32 [shifts, n_tokens].
at::Tensor circular_shifts(at::IntArrayRef shifts, const at::TensorOptions& options, int64_t n_tokens) {
  const at::Tensor by = at::empty({static_cast<int64_t>(shifts.size())}, at::kLong);
  std::copy(shifts.begin(), shifts.end(), by.mutable_data_ptr<int64_t>());
  const at::Tensor tokens = at::arange(n_tokens, options.dtype(at::kLong));
  return at::remainder(at::add(tokens, by.to(options.device()).unsqueeze(1)), n_tokens).to(at::kInt);
}

// One column block, under every permutation, or as it is where there is none: B is packed once.
void match_block(const ScannedCsr& a, const ScannedCsr& b, const RowWork& work, ColumnRange columns, int64_t k,
                 const at::Tensor& permutations, const Moments& a_moments, const Moments& b_moments,
                 const BestTensors& a_best, const BestTensors& b_best) {
  const int64_t n_tokens = a.view.n_tokens;
  const PackedRows rows = pack_rows(b, columns, b_moments);
  const int64_t n_draws = a_best.index.size(0);
  for (int64_t i = 0; i < n_draws; ++i) {
    const int32_t* partner = permutations.defined() ? permutations.const_data_ptr<int32_t>() + i * n_tokens : nullptr;
    const Postings postings = make_postings(a, rows, partner, a_moments, /*wanted=*/columns.first == 0 && i == 0);
    // The moments of A are whole after the first postings, those of B in the columns packed so far.
    const SideStatistics a_statistics(a_moments.sum, a_moments.sum_squares, n_tokens, false);
    const SideStatistics b_statistics(b_moments.sum, b_moments.sum_squares, n_tokens, true);
    const Matcher matcher(a_statistics, b_statistics, n_tokens, columns.first, columns.count, k, work.workers(),
                          a_best.select(i));
    match_rows(work, a, rows, postings, a_statistics.variance, matcher.matching());
    matcher.join(b_best.select(i));
  }
}

// The six tensors of best_matches; index and r have a leading dimension for the permutations, or of 1 where there are
// none. Inputs were checked.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> match_permuted(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k) {
  const ScannedCsr a = scan(a_indptr, a_indices, a_values, n_features_a);
  const ScannedCsr b = scan(b_indptr, b_indices, b_values, n_features_b);
  throw_if_bad(a, b);
  const at::TensorOptions options = a_indptr.options();
  const RowWork work(a, n_features_b, k);
  const Moments a_moments(n_features_a, options), b_moments(n_features_b, options);
  const int64_t m = permutations.defined() ? permutations.size(0) : 1;
  const BestTensors a_best({m, n_features_a, k}, options), b_best({m, n_features_b, k}, options);
  for (int64_t first = 0; first < n_features_b; first += work.n_columns) {
    match_block(a, b, work, {first, std::min(work.n_columns, n_features_b - first)}, k, permutations, a_moments,
                b_moments, a_best, b_best);
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
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  const DeviceScope scope(a_indptr);
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] = match_permuted(
      a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, at::Tensor(), k);
  return {a_index[0], a_r[0], b_index[0], b_r[0], a_noise, b_noise};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_permuted_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  check_permutations_shape(permutations, a_indptr.numel() - 1);
  check_memory({a_indptr, permutations});
  const DeviceScope scope(a_indptr);
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_permuted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b,
                     checked_permutations(permutations), k);
  return {a_index, a_r, b_index, b_r};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  const int64_t n_tokens = a_indptr.numel() - 1;
  check_shifts(shifts, n_tokens);
  const DeviceScope scope(a_indptr);
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_permuted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b,
                     circular_shifts(shifts, a_indptr.options(), n_tokens), k);
  return {a_index, a_r, b_index, b_r};
}

}  // namespace semconv
