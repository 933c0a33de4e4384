#include "block_matcher.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../bound.h"
#include "../quantize.h"
#include "vector_clones.h"

namespace semconv {
namespace {

constexpr int64_t kGroup = 32;  // columns that the finish tests at once
constexpr float kUnreached = -std::numeric_limits<float>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Clears group after group until one has a column that may reach its own threshold or the row's; returns where that
// group starts, or `padded` when there is none.
SEMCONV_VECTOR_CLONES
int64_t next_candidate_group(int64_t* accumulator, const float* gain, const float* drift, const float* threshold,
                             RowBound a, float row_threshold, int64_t start, int64_t padded) {
  for (; start < padded; start += kGroup) {
    int32_t hits = 0;
    for (int64_t c = start; c < start + kGroup; ++c) {
      const float needed = threshold[c] < row_threshold ? threshold[c] : row_threshold;
      hits |= bound_of(accumulator[c], gain[c], drift[c], a) >= needed;
    }
    if (hits != 0) return start;
    std::fill_n(accumulator + start, kGroup, 0);
  }
  return padded;
}

}  // namespace

Statistics::Statistics(int64_t n_tokens, const int64_t* sum, const int64_t* sum_squares, int64_t n_features)
    : n_tokens(n_tokens), sum(sum, sum + n_features), variance(n_features) {
  for (int64_t f = 0; f < n_features; ++f) {
    variance[f] = to_double(scaled_variance(n_tokens, sum[f], sum_squares[f]));
  }
}

BestTensors::BestTensors(at::IntArrayRef shape, const at::TensorOptions& options)
    : index(at::full(shape, -1, options.dtype(at::kLong))), r(at::full(shape, kNaN, options.dtype(at::kDouble))) {}

TopK BestTensors::row(int64_t feature) const {
  const int64_t k = index.size(-1);
  return {index.mutable_data_ptr<int64_t>() + feature * k, r.mutable_data_ptr<double>() + feature * k, k};
}

BlockMatcher::Worker::Worker(int64_t padded, int64_t count, int64_t k)
    : accumulator(padded, 0), threshold(padded, kUnreached), index(count * k, -1), r(count * k, kNaN) {}

BlockMatcher::BlockMatcher(const Statistics& a, const Statistics& b, const ColumnOrder& order, int64_t first,
                           int64_t count, int64_t k, int64_t n_workers)
    : a_(a),
      b_(b),
      order_(order),
      first_(first),
      count_(count),
      k_(k),
      gain_((count + kGroup - 1) / kGroup * kGroup, std::numeric_limits<float>::quiet_NaN()),
      drift_(gain_.size(), 0.0f),
      workers_(n_workers, Worker(gain_.size(), count, k)) {
  for (int64_t c = 0; c < count; ++c) {
    const int32_t feature = order.feature[first + c];
    if (!(b.variance[feature] > 0.0)) continue;
    const ColumnBound bound = column_bound(b.n_tokens, b.sum[feature], b.variance[feature]);
    gain_[c] = bound.gain;
    drift_[c] = bound.drift;
  }
}

void BlockMatcher::finish(int64_t worker, int64_t feature, int64_t* accumulator, TopK row) {
  Worker& w = workers_[worker];
  const RowBound constants = row_bound(a_.sum[feature], a_.variance[feature]);
  float row_threshold = widened(row.threshold());
  for (int64_t start = 0;; start += kGroup) {
    start = next_candidate_group(accumulator, gain_.data(), drift_.data(), w.threshold.data(), constants, row_threshold,
                                 start, padded());
    if (start >= padded()) return;
    for (int64_t c = start; c < std::min(start + kGroup, count_); ++c) {
      const float bound = bound_of(accumulator[c], gain_[c], drift_[c], constants);
      if (!(bound >= std::min(w.threshold[c], row_threshold))) continue;
      const int32_t partner = order_.feature[first_ + c];
      const double r = pearson(a_.n_tokens, accumulator[c], a_.sum[feature], b_.sum[partner], a_.variance[feature],
                               b_.variance[partner]);
      row.insert(partner, r);
      row_threshold = widened(row.threshold());
      TopK best{w.index.data() + c * k_, w.r.data() + c * k_, k_};
      best.insert(feature, r);
      w.threshold[c] = widened(best.threshold());
    }
    std::fill_n(accumulator + start, kGroup, 0);
  }
}

void BlockMatcher::join(const BestTensors& b_best) const {
  at::parallel_for(0, count_, 1024, [&](int64_t lo, int64_t hi) {
    for (int64_t c = lo; c < hi; ++c) {
      TopK best = b_best.row(order_.feature[first_ + c]);
      for (const Worker& w : workers_) {
        for (int64_t slot = c * k_; slot < (c + 1) * k_ && w.index[slot] >= 0; ++slot)
          best.insert(w.index[slot], w.r[slot]);
      }
    }
  });
}

}  // namespace semconv
