// Row-stationary Gustavson: the posting list of one A-feature walks B's packed rows and adds into one accumulator row
// that stays in cache; the row is then finished (r, top-k of both directions) and forgotten.
#include "../best_matches.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "../checks.h"
#include "../quantize.h"
#include "block_matcher.h"
#include "for_each.h"
#include "packed_csr.h"

namespace semconv {
namespace {

struct Side {
  ScannedCsr csr;
  Moments moments;
  Side(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
       const char* name)
      : csr(scan(indptr, indices, values, n_features, name)), moments(n_features) {}

  Statistics statistics() const {
    return {csr.n_tokens, moments.sum.data(), moments.sum_squares.data(), csr.n_features};
  }
  at::Tensor noise(const at::TensorOptions& options) const {  // float64 [F]
    at::Tensor out = at::empty({csr.n_features}, options.dtype(at::kDouble));
    for (int64_t f = 0; f < csr.n_features; ++f) {
      out.mutable_data_ptr<double>()[f] = quantization_noise(csr.active[f], moments.sum_squares[f]);
    }
    return out;
  }
};

// One column block, for every shift.
void match_block(const Side& a, const Postings& postings, Side& b, const ColumnOrder& order, int64_t first,
                 int64_t count, int64_t k, at::IntArrayRef shifts, const BestTensors& a_best,
                 const BestTensors& b_best) {
  const RecordRows rows = pack_block(b.csr, order, first, count, b.moments);
  const ColumnOrder hot_first = order_by_frequency(a.csr);  // so that no thread is left with a hot feature at the end
  const Statistics a_statistics = a.statistics(), b_statistics = b.statistics();
  for (size_t i = 0; i < shifts.size(); ++i) {
    const BestTensors a_found = a_best.select(i), b_found = b_best.select(i);
    BlockMatcher matcher(a_statistics, b_statistics, order, first, count, k, n_workers(a.csr.n_features));
    for_each(a.csr.n_features, [&](int64_t worker, int64_t item) {
      const int32_t feature = hot_first.feature[item];
      if (!(a_statistics.variance[feature] > 0.0)) return;
      accumulate(postings, feature, rows, shifts[i], matcher.accumulator(worker));
      matcher.finish(worker, feature, a_found.row(feature));
    });
    matcher.join(b_found);
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
  // Contiguous copies live until the end of the call, because ScannedCsr points into them.
  const at::Tensor ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bi = b_indices.contiguous(), bv = b_values.contiguous();
  Side a(a_indptr, ai, av, n_features_a, "a"), b(b_indptr, bi, bv, n_features_b, "b");
  const ColumnOrder order = order_by_frequency(b.csr);
  const auto n_shifts = static_cast<int64_t>(shifts.size());
  const at::TensorOptions options = a_indptr.options();
  const BestTensors a_best({n_shifts, n_features_a, k}, options), b_best({n_shifts, n_features_b, k}, options);
  const Postings postings = transpose(a.csr, a.moments);
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    match_block(a, postings, b, order, first, std::min(kBlockColumns, n_features_b - first), k, shifts, a_best, b_best);
  }
  return {a_best.index, a_best.r, b_best.index, b_best.r, a.noise(options), b.noise(options)};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k) {
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] =
      match_shifted(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, {0}, k);
  return {a_index[0], a_r[0], b_index[0], b_r[0], a_noise, b_noise};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k) {
  auto [a_index, a_r, b_index, b_r, a_noise, b_noise] = match_shifted(
      a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, shifts, k);
  return {a_index, a_r, b_index, b_r};
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) {
  m.impl("best_matches", &best_matches_cpu);
  m.impl("best_matches_shifted", &best_matches_shifted_cpu);
}

}  // namespace semconv
