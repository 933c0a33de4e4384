// Row-stationary Gustavson: the posting list of one A-feature walks B's packed rows and adds into one accumulator row
// that stays in cache; the row is then finished (r, top-k of both directions) and forgotten.
#include "../best_matches.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "../checks.h"
#include "block_matcher.h"
#include "checked_permutations.h"
#include "for_each.h"
#include "packed_csr.h"
#include "scanned_side.h"

namespace semconv {
namespace {

// Which token of B each token of A meets under circular shifts, int32 [shifts, n_tokens].
at::Tensor circular_shifts(at::IntArrayRef shifts, const at::TensorOptions& options, int64_t n_tokens) {
  at::Tensor out = at::empty({static_cast<int64_t>(shifts.size()), n_tokens}, options.dtype(at::kInt));
  int32_t* partner = out.mutable_data_ptr<int32_t>();
  for (const int64_t shift : shifts) {
    for (int64_t t = 0; t < n_tokens; ++t) *partner++ = static_cast<int32_t>((t + shift) % n_tokens);
  }
  return out;
}

constexpr int64_t kSumsInCache = int64_t{1} << 24;  // bytes of the sums of all A-features with the columns of a block
constexpr int64_t kRowsInCache = int64_t{1} << 22;  // bytes of the rows that are read again and again beside them

// Copies the rows that the tokens of A meet, each row once, in the order of these tokens.
void gather(const RecordRows& rows, const std::vector<RowPlace>& met, RecordRows& out) {
  const auto n_tokens = static_cast<int64_t>(met.size());
  for (int64_t t = 0; t < n_tokens; ++t) out.offsets[t + 1] = out.offsets[t] + met[t].length();
  at::parallel_for(0, n_tokens, 1024, [&](int64_t lo, int64_t hi) {
    for (int64_t t = lo; t < hi; ++t) {
      std::copy_n(rows.records.data() + met[t].start(), met[t].length(), out.records.data() + out.offsets[t]);
    }
  });
}

// The sums of every A-feature with every column, [F_a, padded], over one stretch of tokens after the other, so that the
// rows of a stretch stay in cache while all features walk them: where the sums do too, this halves the time.
std::vector<int64_t> all_sums(const Postings& postings, const RecordRows& rows, int64_t n_features, int64_t padded,
                              const ColumnOrder& hot_first) {
  std::vector<int64_t> sums(n_features * padded, 0), next(postings.offsets.begin(), postings.offsets.end() - 1);
  const std::vector<RowPlace> places = rows.places();
  const auto n_tokens = static_cast<int64_t>(places.size());
  for (int64_t token = 0; token < n_tokens;) {
    const int64_t stretch_end = rows.offsets[token] + kRowsInCache / static_cast<int64_t>(sizeof(Record));
    while (token < n_tokens && rows.offsets[token] < stretch_end) ++token;
    for_each(n_features, [&](int64_t, int64_t item) {
      const int32_t feature = hot_first.feature[item];
      const uint64_t* const entries = postings.entries.data();
      const int64_t begin = next[feature];
      const int64_t end = std::lower_bound(entries + begin, entries + postings.offsets[feature + 1],
                                           static_cast<uint64_t>(token) << 16) -
                          entries;
      accumulate(postings, begin, end, rows, places, sums.data() + feature * padded);
      next[feature] = end;
    });
  }
  return sums;
}

// One column block, under every permutation, or as it is where there is none: B is packed once.
void match_block(const ScannedSide& a, const Postings& postings, ScannedSide& b, const ColumnOrder& order,
                 int64_t first, int64_t count, int64_t k, const at::Tensor& permutations, const BestTensors& a_best,
                 const BestTensors& b_best) {
  const RecordRows rows = pack_block(b.csr, order, first, count, b.moments);
  const ColumnOrder hot_first = order_by_frequency(a.csr);  // so that no thread is left with a hot feature at the end
  const Statistics a_statistics = a.statistics(), b_statistics = b.statistics();
  const int64_t n_features = a.csr.n_features, n_draws = a_best.index.size(0);
  const int32_t* partner = permutations.defined() ? permutations.const_data_ptr<int32_t>() : nullptr;
  const std::vector<RowPlace> places = rows.places();
  std::vector<RowPlace> met = places;
  RecordRows moved;  // the rows as the tokens of A meet them, in memory that all draws share
  for (int64_t i = 0; i < n_draws; ++i) {
    if (partner != nullptr) {
      for (RowPlace& place : met) place = places[*partner++];
    }
    const BestTensors a_found = a_best.select(i), b_found = b_best.select(i);
    BlockMatcher matcher(a_statistics, b_statistics, order, first, count, k, n_workers(n_features));
    std::vector<int64_t> sums;
    if (8 * n_features * matcher.padded() <= kSumsInCache) {
      if (partner != nullptr) {
        if (moved.offsets.empty())
          moved = {std::vector<int64_t>(places.size() + 1, 0), HugePageArray<Record>(rows.offsets.back())};
        gather(rows, met, moved);
      }
      sums = all_sums(postings, partner != nullptr ? moved : rows, n_features, matcher.padded(), hot_first);
    }
    for_each(n_features, [&](int64_t worker, int64_t item) {
      const int32_t feature = hot_first.feature[item];
      if (!(a_statistics.variance[feature] > 0.0)) return;
      int64_t* const row = sums.empty() ? matcher.accumulator(worker) : sums.data() + feature * matcher.padded();
      if (sums.empty()) accumulate(postings, feature, rows, met, row);
      matcher.finish(worker, feature, row, a_found.row(feature));
    });
    matcher.join(b_found);
  }
}

// The six tensors of best_matches; index and r have a leading dimension for the permutations, or of 1 where there are
// none. Inputs were checked.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> match_permuted(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k) {
  // Contiguous copies live until the end of the call, because ScannedCsr points into them.
  const at::Tensor ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bi = b_indices.contiguous(), bv = b_values.contiguous();
  ScannedSide a(a_indptr, ai, av, n_features_a, "a"), b(b_indptr, bi, bv, n_features_b, "b");
  const ColumnOrder order = order_by_frequency(b.csr);
  const int64_t m = permutations.defined() ? permutations.size(0) : 1;
  const at::TensorOptions options = a_indptr.options();
  const BestTensors a_best({m, n_features_a, k}, options), b_best({m, n_features_b, k}, options);
  const Postings postings = transpose(a.csr, a.moments);
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    match_block(a, postings, b, order, first, std::min(kBlockColumns, n_features_b - first), k, permutations, a_best,
                b_best);
  }
  return {a_best.index, a_best.r, b_best.index, b_best.r, a.noise(options), b.noise(options)};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] = match_permuted(
      a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, at::Tensor(), k);
  return {a_index[0], a_r[0], b_index[0], b_r[0], a_noise, b_noise};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_permuted_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  check_permutations_shape(permutations, a_indptr.numel() - 1);
  check_memory({a_indptr, permutations});
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_permuted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b,
                     checked_permutations(permutations), k);
  return {a_index, a_r, b_index, b_r};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  const int64_t n_tokens = a_indptr.numel() - 1;
  check_shifts(shifts, n_tokens);
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_permuted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b,
                     circular_shifts(shifts, a_indptr.options(), n_tokens), k);
  return {a_index, a_r, b_index, b_r};
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) {
  m.impl("best_matches", &best_matches_cpu);
  m.impl("best_matches_permuted", &best_matches_permuted_cpu);
  m.impl("best_matches_shifted", &best_matches_shifted_cpu);
}

}  // namespace semconv
