// The same walk as best_matches, but each A-feature adds straight into its row of the int64 matrix.
#include "../cross_moments.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "../checks.h"
#include "../quantize.h"
#include "for_each.h"
#include "packed_csr.h"

namespace semconv {
namespace {

int64_t* row_of(const at::Tensor& sums, FeatureSum row) {
  return sums.mutable_data_ptr<int64_t>() + row * sums.size(1);
}

// Replaces the scales that the scan would choose by those of the stream, and gives new features theirs.
void set_scales(ScannedCsr& m, const at::Tensor& sums, int64_t headroom_bits) {
  int64_t* exponent = row_of(sums, kScaleExponent);
  for (int64_t f = 0; f < m.n_features; ++f) {
    if (exponent[f] == kNoScale && m.active[f] > 0) exponent[f] = scale_exponent(m.max[f]) + headroom_bits;
    m.inverse_scale[f] = exponent[f] == kNoScale ? 1.0 : std::ldexp(1.0, static_cast<int>(-exponent[f]));
  }
}

void add_moments(const ScannedCsr& m, const Moments& moments, const at::Tensor& sums) {
  for (int64_t f = 0; f < m.n_features; ++f) {
    row_of(sums, kSum)[f] += moments.sum[f];
    row_of(sums, kSumSquares)[f] += moments.sum_squares[f];
    row_of(sums, kActive)[f] += m.active[f];
  }
  count_saturated(m, row_of(sums, kSaturated));
}

}  // namespace

void cross_moments_cpu_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                        const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                        const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits) {
  check_stream_state(s_ab, sums_a, sums_b, headroom_bits);
  const int64_t n_features_a = s_ab.size(0), n_features_b = s_ab.size(1);
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  check_same_tokens(a_indptr, b_indptr);
  check_one_device({s_ab, sums_a, sums_b, a_indptr, a_indices, a_values, b_indptr, b_indices, b_values});
  check_no_overlap({{"s_ab", s_ab}, {"sums_a", sums_a}, {"sums_b", sums_b}}, {{"a.indptr", a_indptr},
                                                                              {"a.indices", a_indices},
                                                                              {"a.values", a_values},
                                                                              {"b.indptr", b_indptr},
                                                                              {"b.indices", b_indices},
                                                                              {"b.values", b_values}});
  const at::Tensor ap = a_indptr.contiguous(), ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bp = b_indptr.contiguous(), bi = b_indices.contiguous(), bv = b_values.contiguous();
  // Everything is checked before the state changes.
  ScannedCsr a = scan(ap, ai, av, n_features_a, "a"), b = scan(bp, bi, bv, n_features_b, "b");
  set_scales(a, sums_a, headroom_bits);
  set_scales(b, sums_b, headroom_bits);
  Moments a_moments(n_features_a), b_moments(n_features_b);
  const ColumnOrder order = natural_order(n_features_b);
  const Postings postings = transpose(a, a_moments);
  int64_t* out = s_ab.mutable_data_ptr<int64_t>();
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    const RecordRows rows = pack_block(b, order, first, std::min(kBlockColumns, n_features_b - first), b_moments);
    const auto add = [&](int64_t, int64_t f) {
      accumulate(postings, f, rows, /*shift=*/0, out + f * n_features_b + first);
    };
    for_each(n_features_a, add, /*interruptible=*/false);
  }
  add_moments(a, a_moments, sums_a);
  add_moments(b, b_moments, sums_b);
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("cross_moments_", &cross_moments_cpu_); }

}  // namespace semconv
