// Row-stationary Gustavson: the posting list of one A-feature walks B's packed rows and adds into one accumulator row
// that stays in cache; the row is then finished (r, top-k of both directions) and forgotten.
#include "../best_matches.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "../checks.h"
#include "../quantize.h"
#include "packed_csr.h"
#include "top_k.h"
#include "vector_clones.h"

namespace semconv {
namespace {

constexpr int64_t kPrefetchRows = 4;  // B rows asked for ahead of use
constexpr int64_t kMaxPrefetchLines = 16;
constexpr int64_t kRecordsPerLine = 64 / sizeof(Record);
constexpr int64_t kGroup = 32;  // columns that the finish tests at once
constexpr float kWiden =
    16 * std::numeric_limits<float>::epsilon();  // above the rounding of the five float steps below
constexpr float kUnreached = -std::numeric_limits<float>::infinity();

// What the finish needs of one column block of B, padded to whole groups with columns that never match. With these,
// r * sd_a = S_ab * gain - S_a * drift; gain is widened up and drift down, so that the float result is an upper bound.
struct BlockColumns {
  int64_t first, count;
  std::vector<float> gain;   // [padded] n / sd_b, NaN for a feature that never varies
  std::vector<float> drift;  // [padded] S_b / sd_b
  BlockColumns(int64_t n_tokens, const Moments& b, const ColumnOrder& order, int64_t first, int64_t count)
      : first(first),
        count(count),
        gain((count + kGroup - 1) / kGroup * kGroup, std::numeric_limits<float>::quiet_NaN()),
        drift(gain.size(), 0.0f) {
    for (int64_t c = 0; c < count; ++c) {
      const int32_t feature = order.feature[first + c];
      if (!(b.variance[feature] > 0.0)) continue;
      const double sd = std::sqrt(b.variance[feature]);
      gain[c] = static_cast<float>(static_cast<double>(n_tokens) / sd) * (1 + kWiden);
      drift[c] = static_cast<float>(static_cast<double>(b.sum[feature]) / sd) * (1 - kWiden);
    }
  }
};

// The r that a newcomer must reach, as a float that is safely below it.
inline float widened(double threshold) { return static_cast<float>(threshold) - kWiden; }

// One thread's accumulator row and its own best A-features for every column of the block.
struct Worker {
  std::vector<int64_t> accumulator;  // [padded]
  std::vector<float> threshold;      // [padded] what a column's newcomer must reach
  std::vector<int64_t> index;        // [count, k]
  std::vector<double> r;             // [count, k]
  Worker(int64_t padded, int64_t count, int64_t k)
      : accumulator(padded, 0),
        threshold(padded, kUnreached),
        index(count * k, -1),
        r(count * k, std::numeric_limits<double>::quiet_NaN()) {}
};

void accumulate(const Postings& a, int64_t feature, const RecordRows& b, int64_t* accumulator) {
  const int64_t begin = a.offsets[feature], end = a.offsets[feature + 1];
  // A fixed number of lines: a loop that follows each row's length costs a mispredicted branch a row.
  const int64_t mean_length = b.offsets.back() / static_cast<int64_t>(b.offsets.size() - 1);
  const int64_t lines = std::min<int64_t>(mean_length / kRecordsPerLine + 1, kMaxPrefetchLines);
  for (int64_t i = begin; i < end; ++i) {
    if (i + kPrefetchRows < end) {
      const Record* ahead = b.records.data() + (a.entries[i + kPrefetchRows] >> 16);
      for (int64_t line = 0; line < lines; ++line) __builtin_prefetch(ahead + line * kRecordsPerLine);
    }
    const uint32_t code = a.entries[i] & 0xFFFFu;
    const Record* record = b.records.data() + (a.entries[i] >> 16);
    const Record* const row_end = record + 1 + RecordRows::length(*record);
    for (++record; record < row_end; record += kRowUnroll) {
      for (int64_t u = 0; u < kRowUnroll; ++u) {
        accumulator[record[u].column] += static_cast<int64_t>(code * record[u].code);  // < 2^32
      }
    }
  }
}

struct RowConstants {
  float sum, inverse_sd;  // S_a and 1 / sd_a
};

inline float bound_of(int64_t s_ab, float gain, float drift, RowConstants a) {
  return (static_cast<float>(s_ab) * gain - a.sum * drift) * a.inverse_sd;
}

// Clears group after group until one has a column that may reach its own threshold or the row's; returns where that
// group starts, or `padded` when there is none.
SEMCONV_VECTOR_CLONES
int64_t next_candidate_group(int64_t* accumulator, const float* gain, const float* drift, const float* threshold,
                             RowConstants a, float row_threshold, int64_t start, int64_t padded) {
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

// Turns one accumulator row into r, offers it to the row's and the columns' best, and clears it.
void finish(int64_t n_tokens, const Moments& a, int64_t feature, const Moments& b, const ColumnOrder& order,
            const BlockColumns& columns, Worker& w, TopK row, int64_t k) {
  const RowConstants constants{static_cast<float>(a.sum[feature]),
                               static_cast<float>(1.0 / std::sqrt(a.variance[feature]))};
  const int64_t padded = static_cast<int64_t>(columns.gain.size());
  float row_threshold = widened(row.threshold());
  for (int64_t start = 0;; start += kGroup) {
    start = next_candidate_group(w.accumulator.data(), columns.gain.data(), columns.drift.data(), w.threshold.data(),
                                 constants, row_threshold, start, padded);
    if (start >= padded) return;
    for (int64_t c = start; c < std::min(start + kGroup, columns.count); ++c) {
      const float bound = bound_of(w.accumulator[c], columns.gain[c], columns.drift[c], constants);
      if (!(bound >= std::min(w.threshold[c], row_threshold))) continue;
      const int32_t partner = order.feature[columns.first + c];
      const double r =
          pearson(n_tokens, w.accumulator[c], a.sum[feature], b.sum[partner], a.variance[feature], b.variance[partner]);
      row.insert(partner, r);
      row_threshold = widened(row.threshold());
      TopK best{w.index.data() + c * k, w.r.data() + c * k, k};
      best.insert(feature, r);
      w.threshold[c] = widened(best.threshold());
    }
    std::fill_n(w.accumulator.data() + start, kGroup, 0);
  }
}

struct Outputs {
  at::Tensor index, r;  // [F, k]
  Outputs(int64_t n_features, int64_t k, const at::TensorOptions& options)
      : index(at::full({n_features, k}, -1, options.dtype(at::kLong))),
        r(at::full({n_features, k}, std::numeric_limits<double>::quiet_NaN(), options.dtype(at::kDouble))) {}
  TopK row(int64_t feature, int64_t k) const {
    return {index.mutable_data_ptr<int64_t>() + feature * k, r.mutable_data_ptr<double>() + feature * k, k};
  }
};

struct Side {
  ScannedCsr csr;
  Moments moments;
};

void match_block(Side& a, Side& b, const ColumnOrder& order, int64_t first, int64_t count, int64_t k,
                 const Outputs& a_best, const Outputs& b_best) {
  const RecordRows rows = pack_block(b.csr, order, first, count, b.moments);
  const Postings postings = transpose(a.csr, rows, a.moments);
  const BlockColumns columns(b.csr.n_tokens, b.moments, order, first, count);
  const int64_t n_workers = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), a.csr.n_features));
  std::vector<Worker> workers(n_workers, Worker(columns.gain.size(), count, k));
  std::atomic<int64_t> next{0};  // features differ in cost, so threads take one at a time; the result cannot tell
  at::parallel_for(0, n_workers, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) {
      for (int64_t f = next++; f < a.csr.n_features; f = next++) {
        if (!(a.moments.variance[f] > 0.0)) continue;
        accumulate(postings, f, rows, workers[p].accumulator.data());
        finish(a.csr.n_tokens, a.moments, f, b.moments, order, columns, workers[p], a_best.row(f, k), k);
      }
    }
  });
  at::parallel_for(0, count, 1024, [&](int64_t lo, int64_t hi) {
    for (int64_t c = lo; c < hi; ++c) {
      TopK best = b_best.row(order.feature[first + c], k);
      for (const Worker& w : workers) {
        for (int64_t slot = c * k; slot < (c + 1) * k && w.index[slot] >= 0; ++slot)
          best.insert(w.index[slot], w.r[slot]);
      }
    }
  });
}

at::Tensor to_tensor(const std::vector<double>& values, const at::TensorOptions& options) {
  at::Tensor out = at::full({static_cast<int64_t>(values.size())}, 0.0, options.dtype(at::kDouble));
  std::copy(values.begin(), values.end(), out.mutable_data_ptr<double>());
  return out;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k) {
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  TORCH_CHECK_VALUE(a_indptr.numel() == b_indptr.numel(), "a and b must hold the same tokens, got ",
                    a_indptr.numel() - 1, " and ", b_indptr.numel() - 1);
  TORCH_CHECK_VALUE(k >= 1 && k <= std::min(n_features_a, n_features_b), "k must be between 1 and ",
                    std::min(n_features_a, n_features_b), ", the smaller number of features, got ", k);
  // Contiguous copies live until the end of the call, because ScannedCsr points into them.
  const at::Tensor ap = a_indptr.contiguous(), ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bp = b_indptr.contiguous(), bi = b_indices.contiguous(), bv = b_values.contiguous();
  Side a{scan(ap, ai, av, n_features_a, "a"), Moments(n_features_a)};
  Side b{scan(bp, bi, bv, n_features_b, "b"), Moments(n_features_b)};
  const ColumnOrder order = order_columns(b.csr);
  const Outputs a_best(n_features_a, k, ap.options()), b_best(n_features_b, k, ap.options());
  for (int64_t first = 0; first < n_features_b; first += kBlockColumns) {
    match_block(a, b, order, first, std::min(kBlockColumns, n_features_b - first), k, a_best, b_best);
  }
  return {a_best.index,
          a_best.r,
          b_best.index,
          b_best.r,
          to_tensor(a.moments.noise, ap.options()),
          to_tensor(b.moments.noise, ap.options())};
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("best_matches", &best_matches_cpu); }

}  // namespace semconv
