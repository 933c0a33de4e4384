// One pass over the rows of the int64 matrix; best_from_moments finishes them with the code of best_matches.
#include "../pearson.h"

#include <ATen/Parallel.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../checks.h"
#include "../cross_moments.h"
#include "../quantize.h"
#include "block_matcher.h"
#include "for_each.h"
#include "read_once.h"

namespace semconv {
namespace {

// The sums of both sides, copied, so that what was checked is what is read; and s_ab, from which no place is taken.
struct CheckedMoments {
  at::Tensor cross, a, b;  // contiguous
  CheckedMoments(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, int64_t n_tokens) {
    check_moments_shapes(s_ab, sums_a, sums_b, n_tokens);
    check_memory({s_ab, sums_a, sums_b});
    cross = s_ab.contiguous();
    a = at::clone(sums_a, at::MemoryFormat::Contiguous);
    b = at::clone(sums_b, at::MemoryFormat::Contiguous);
    check_sums(a, n_tokens, "sums_a");
    check_sums(b, n_tokens, "sums_b");
  }
};

Statistics statistics_of(const at::Tensor& sums, int64_t n_tokens) {  // sums contiguous
  const int64_t* p = sums.const_data_ptr<int64_t>();
  return {n_tokens, p + kSum * sums.size(1), p + kSumSquares * sums.size(1), sums.size(1)};
}

at::Tensor noise_of(const at::Tensor& sums) {  // sums contiguous
  const int64_t n_features = sums.size(1);
  const int64_t* p = sums.const_data_ptr<int64_t>();
  at::Tensor out = at::empty({n_features}, sums.options().dtype(at::kDouble));
  for (int64_t f = 0; f < n_features; ++f) {
    out.mutable_data_ptr<double>()[f] =
        quantization_noise(p[kActive * n_features + f], p[kSumSquares * n_features + f]);
  }
  return out;
}

}  // namespace

at::Tensor correlation_from_moments_cpu(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                                        int64_t n_tokens) {
  const CheckedMoments moments(s_ab, sums_a, sums_b, n_tokens);
  const at::Tensor& cross = moments.cross;
  const int64_t n_features_a = cross.size(0), n_features_b = cross.size(1);
  const Statistics a = statistics_of(moments.a, n_tokens), b = statistics_of(moments.b, n_tokens);
  at::Tensor out = at::empty({n_features_a, n_features_b}, cross.options().dtype(at::kDouble));
  const int64_t* s = cross.const_data_ptr<int64_t>();
  double* r = out.mutable_data_ptr<double>();
  std::vector<double> impossible(n_features_a, 0.0);  // the first of every row
  for_each(n_features_a, [&](int64_t, int64_t f) {
    for (int64_t g = 0; g < n_features_b; ++g) {
      const bool varies = a.variance[f] > 0.0 && b.variance[g] > 0.0;
      const double found = varies ? pearson(n_tokens, read_once(s + f * n_features_b + g), a.sum[f], b.sum[g],
                                            a.variance[f], b.variance[g])
                                  : std::numeric_limits<double>::quiet_NaN();
      r[f * n_features_b + g] = found;
      if (std::abs(found) > kMostR && impossible[f] == 0.0) impossible[f] = found;
    }
  });
  for (const double found : impossible) {
    if (found != 0.0) throw_impossible_r(found);
  }
  return out;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_from_moments_cpu(
    const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, int64_t n_tokens, int64_t k) {
  const CheckedMoments moments(s_ab, sums_a, sums_b, n_tokens);
  const at::Tensor& cross = moments.cross;
  const int64_t n_features_a = cross.size(0), n_features_b = cross.size(1);
  check_k(k, n_features_a, n_features_b);
  const Statistics a = statistics_of(moments.a, n_tokens), b = statistics_of(moments.b, n_tokens);
  const ColumnOrder order = natural_order(n_features_b);
  const BestTensors a_best({n_features_a, k}, cross.options()), b_best({n_features_b, k}, cross.options());
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    const int64_t count = std::min(kBlockColumns, n_features_b - first);
    BlockMatcher matcher(a, b, order, first, count, k, n_workers(n_features_a));
    for_each(n_features_a, [&](int64_t worker, int64_t f) {
      if (!(a.variance[f] > 0.0)) return;
      copy_as_it_is(cross.const_data_ptr<int64_t>() + f * n_features_b + first, count, matcher.accumulator(worker));
      matcher.finish(worker, f, a_best.row(f));
    });
    matcher.join(b_best);
  }
  check_best_r(a_best.r, b_best.r);
  return {a_best.index, a_best.r, b_best.index, b_best.r, noise_of(moments.a), noise_of(moments.b)};
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) {
  m.impl("correlation_from_moments", &correlation_from_moments_cpu);
  m.impl("best_from_moments", &best_from_moments_cpu);
}

}  // namespace semconv
