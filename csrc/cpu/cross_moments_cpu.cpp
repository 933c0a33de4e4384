// The same walk as best_matches, but each A-feature adds straight into its row of the int64 matrix.
#include "../cross_moments.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../checks.h"
#include "../quantize.h"
#include "for_each.h"
#include "packed_csr.h"

namespace semconv {
namespace {

int64_t* row_of(const at::Tensor& sums, FeatureSum row) {
  return sums.mutable_data_ptr<int64_t>() + row * sums.size(1);
}

constexpr int64_t kLargestScale = 1100;  // either way: no double leads to more

// Throws unless the sums are of a stream that the chunk can be added to without overflow.
void check_sums_so_far(const int64_t* sums, int64_t exponent, int64_t f, const ScannedCsr& chunk) {
  const auto row = [&](FeatureSum which) { return sums[which * chunk.n_features + f]; };
  const bool scale = exponent == kNoScale || (exponent >= -kLargestScale && exponent <= kLargestScale);
  const int64_t s = row(kSum), q = row(kSumSquares), n = row(kActive), over = row(kSaturated);
  TORCH_CHECK_VALUE(scale && sums_are_possible(kMaxTokens - chunk.active[f], s, q, n) && over >= 0 && over <= n,
                    "sums_", chunk.side,
                    " must be of a stream that holds at most 2^31 tokens with this chunk, got scale exponent ",
                    exponent, ", S = ", s, ", Q = ", q, ", active = ", n, ", saturated = ", over, " for feature ", f);
}

// What one chunk adds to the sums of one side. Reads the caller's tensors and changes none of them.
struct Chunk {
  ScannedCsr csr;
  Moments moments;
  std::vector<int64_t> exponent;   // [F] scales of the stream, those of new features among them
  std::vector<int64_t> saturated;  // [F]
  Chunk(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, const at::Tensor& sums,
        int64_t headroom_bits, const char* side)
      : csr(scan(indptr, indices, values, sums.size(1), side)),
        moments(sums.size(1)),
        exponent(row_of(sums, kScaleExponent), row_of(sums, kScaleExponent) + sums.size(1)),
        saturated(sums.size(1), 0) {
    for (int64_t f = 0; f < csr.n_features; ++f) {
      check_sums_so_far(sums.const_data_ptr<int64_t>(), exponent[f], f, csr);
      if (exponent[f] == kNoScale && csr.active[f] > 0) exponent[f] = scale_exponent(csr.max[f]) + headroom_bits;
      csr.inverse_scale[f] = exponent[f] == kNoScale ? 1.0 : std::ldexp(1.0, static_cast<int>(-exponent[f]));
    }
    count_saturated(csr, saturated.data());
  }

  void add_to(const at::Tensor& sums) const {
    for (int64_t f = 0; f < csr.n_features; ++f) {
      row_of(sums, kScaleExponent)[f] = exponent[f];
      row_of(sums, kSum)[f] += moments.sum[f];
      row_of(sums, kSumSquares)[f] += moments.sum_squares[f];
      row_of(sums, kActive)[f] += csr.active[f];
      row_of(sums, kSaturated)[f] += saturated[f];
    }
  }
};

}  // namespace

void cross_moments_cpu_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                        const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                        const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits) {
  check_stream_state(s_ab, sums_a, sums_b, headroom_bits);
  const int64_t n_features_a = s_ab.size(0), n_features_b = s_ab.size(1);
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  check_same_tokens(a_indptr, b_indptr);
  check_memory({s_ab, sums_a, sums_b, a_indptr, a_indices, a_values, b_indptr, b_indices, b_values});
  check_no_overlap({{"s_ab", s_ab}, {"sums_a", sums_a}, {"sums_b", sums_b}}, {{"a.indptr", a_indptr},
                                                                              {"a.indices", a_indices},
                                                                              {"a.values", a_values},
                                                                              {"b.indptr", b_indptr},
                                                                              {"b.indices", b_indices},
                                                                              {"b.values", b_values}});
  const at::Tensor ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bi = b_indices.contiguous(), bv = b_values.contiguous();
  // Everything is read, and checked, before the state changes: a call that throws leaves it as it was.
  Chunk a(a_indptr, ai, av, sums_a, headroom_bits, "a"), b(b_indptr, bi, bv, sums_b, headroom_bits, "b");
  const ColumnOrder order = natural_order(n_features_b);
  const Postings postings = transpose(a.csr, a.moments);
  std::vector<RecordRows> blocks;
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    blocks.push_back(pack_block(b.csr, order, first, std::min(kBlockColumns, n_features_b - first), b.moments));
  }
  int64_t* out = s_ab.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto add = [&, places = blocks[i].places()](int64_t, int64_t f) {
      accumulate(postings, f, blocks[i], places, out + f * n_features_b + i * kBlockColumns);
    };
    for_each(n_features_a, add, /*interruptible=*/false);
  }
  a.add_to(sums_a);
  b.add_to(sums_b);
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("cross_moments_", &cross_moments_cpu_); }

}  // namespace semconv
