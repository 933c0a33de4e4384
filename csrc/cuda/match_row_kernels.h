// The phases that turn one row of S_ab into r and keep the k best partners in both directions.
#pragma once

#include <cmath>

#include "../bound.h"
#include "../quantize.h"
#include "../top_k.h"
#include "accumulate_kernels.h"

namespace semconv::cuda {

// Columns [first, first + n_columns) of B, and where what is found goes.
struct Matching {
  int64_t n_tokens;
  int64_t first;
  int64_t n_columns;
  int64_t k;
  const int64_t* sum_a;      // [F_a]
  const double* variance_a;  // [F_a]
  const int64_t* sum_b;      // [F_b]
  const double* variance_b;  // [F_b]
  const float* gain;         // [F_b] of every column's ColumnBound, NaN for a feature that never varies
  const float* drift;        // [F_b]
  int64_t* a_index;          // [F_a, k]
  double* a_r;               // [F_a, k]
  // Every worker's own, so that no block waits for another.
  float* reach;            // [workers, n_columns] what a column's newcomer must reach
  int64_t* b_index;        // [workers, n_columns, k]
  double* b_r;             // [workers, n_columns, k]
  int32_t* candidate;      // [workers, n_columns]
  int64_t* candidate_sum;  // [workers, n_columns]
  double* candidate_r;     // [workers, n_columns]

  SEMCONV_HD double r_of(int32_t feature, int64_t column, int64_t s_ab) const {
    const int64_t partner = first + column;
    return pearson(n_tokens, s_ab, sum_a[feature], sum_b[partner], variance_a[feature], variance_b[partner]);
  }
};

// S_ab of one feature with the columns: limbs in shared memory, or a row of 64-bit sums in global memory.
struct RowOfSums {
  Limbs limbs;
  const int64_t* row;  // [n_columns], or null

  SEMCONV_HD int64_t operator()(int64_t c) const {
    return row == nullptr ? limbs.sum(c) : read_shared_by_blocks(row + c);
  }
  SEMCONV_HD void clear(int64_t c) const {
    if (row == nullptr) limbs.clear(c);
  }
};

inline constexpr int kFewLeaders = 32;

// Offers one row to the columns' best and to the feature's own, and clears the limbs. best_of_threads: shared, one
// double per thread; the number of threads is a power of two.
SEMCONV_PHASES
template <typename Block>
SEMCONV_HD void match_row(Block& block, const Matching& m, int32_t feature, const RowOfSums& sums, Head* head,
                          double* best_of_threads) {
  const int n = block.n_threads();
  const int64_t table = block.index() * m.n_columns;  // of this worker
  const RowBound a = row_bound(m.sum_a[feature], m.variance_a[feature]);
  const TopK row{m.a_index + feature * m.k, m.a_r + feature * m.k, m.k};

  // Each thread offers its columns the newcomer, and finds the exact r of the best of them by bound.
  block.threads([&](int t) {
    float best = -HUGE_VALF;
    int64_t best_column = -1, best_sum = 0;
    for (int64_t c = t; c < m.n_columns; c += n) {
      const int64_t s_ab = sums(c);
      const float bound = bound_of(s_ab, m.gain[m.first + c], m.drift[m.first + c], a);
      if (bound > best) {
        best = bound;
        best_column = c;
        best_sum = s_ab;
      }
      if (!(bound >= m.reach[table + c])) continue;
      TopK column{m.b_index + (table + c) * m.k, m.b_r + (table + c) * m.k, m.k};
      column.insert(feature, m.r_of(feature, c, s_ab));
      m.reach[table + c] = widened(column.threshold());
    }
    best_of_threads[t] = best_column < 0 ? -HUGE_VAL : m.r_of(feature, best_column, best_sum);
    if (t == 0) {
      head->n_candidates = 0;
      head->threshold = -HUGE_VAL;
    }
  });

  // The k-th best of disjoint groups' bests is at most the k-th best of all: what a candidate must reach.
  int leaders = n;
  while (m.k <= kFewLeaders && leaders > kFewLeaders) {
    leaders /= 2;
    block.threads([&](int t) {
      if (t < leaders && best_of_threads[t + leaders] > best_of_threads[t]) {
        best_of_threads[t] = best_of_threads[t + leaders];
      }
    });
  }
  block.threads([&](int t) {
    if (t >= leaders) return;
    int before = 0;
    for (int u = 0; u < leaders; ++u) {
      before += best_of_threads[u] > best_of_threads[t] || (best_of_threads[u] == best_of_threads[t] && u < t);
    }
    if (before == m.k - 1) head->threshold = best_of_threads[t];
  });

  block.threads([&](int t) {
    const double own = row.threshold();
    const float needed = widened(own > head->threshold ? own : head->threshold);
    for (int64_t c = t; c < m.n_columns; c += n) {
      const int64_t s_ab = sums(c);
      if (bound_of(s_ab, m.gain[m.first + c], m.drift[m.first + c], a) >= needed) {
        const int64_t slot = table + fetch_add(&head->n_candidates, 1u);
        m.candidate[slot] = static_cast<int32_t>(c);
        m.candidate_sum[slot] = s_ab;
      }
      sums.clear(c);
    }
  });
  block.threads([&](int t) {
    for (int64_t slot = table + t; slot < table + head->n_candidates; slot += n) {
      m.candidate_r[slot] = m.r_of(feature, m.candidate[slot], m.candidate_sum[slot]);
    }
  });
  block.threads([&](int t) {
    if (t != 0) return;
    TopK best = row;
    for (int64_t slot = table; slot < table + head->n_candidates; ++slot) {
      best.insert(m.first + m.candidate[slot], m.candidate_r[slot]);
    }
  });
}

// Where the blocks that share a feature meet; null pointers where no list is shared.
struct SharedRows {
  int64_t* sums;        // [rows, n_columns] 0 before
  uint32_t* n_arrived;  // [rows] 0 before

  // Adds the limbs to the shared row, clears them, and tells whether this block was the last of the feature's.
  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD bool add(Block& block, Head* head, const Limbs& limbs, int64_t n_columns) const {
    block.threads([&](int t) {
      for (int64_t c = t; c < n_columns; c += block.n_threads()) {
        const int64_t sum = limbs.sum(c);
        if (sum != 0) fetch_add(sums + head->row * n_columns + c, sum);
        limbs.clear(c);
      }
      fence();
    });
    block.threads([&](int t) {
      if (t != 0) return;
      head->last = fetch_add(n_arrived + head->row, 1u) + 1 == static_cast<uint32_t>(head->n_parts);
      fence();
    });
    return head->last != 0;
  }
};

// What finishing needs of every feature of one side.
struct Statistics {
  int64_t n_tokens;
  const int64_t* sum;          // [F]
  const int64_t* sum_squares;  // [F]
  double* variance;            // [F]
  float* gain;                 // [F] or null
  float* drift;                // [F] or null

  SEMCONV_HD void operator()(int64_t f) const {
    variance[f] = to_double(scaled_variance(n_tokens, sum[f], sum_squares[f]));
    if (gain == nullptr) return;
    const ColumnBound bound = variance[f] > 0.0 ? column_bound(n_tokens, sum[f], variance[f]) : ColumnBound{NAN, 0.0f};
    gain[f] = bound.gain;
    drift[f] = bound.drift;
  }
};

// The quantisation noise of every feature, from what was summed; `active` is [F] counts of 32 or 64 bits.
template <typename Count>
struct Noise {
  const Count* active;
  const int64_t* sum_squares;  // [F]
  double* noise;               // [F]

  SEMCONV_HD void operator()(int64_t f) const { noise[f] = quantization_noise(active[f], sum_squares[f]); }
};

// Offers what all workers found for a column to the outputs of the B side; called once per column.
struct JoinWorkers {
  Matching m;
  int64_t workers;
  int64_t* b_index;  // [F_b, k]
  double* b_r;       // [F_b, k]

  SEMCONV_HD void operator()(int64_t c) const {
    TopK best{b_index + (m.first + c) * m.k, b_r + (m.first + c) * m.k, m.k};
    for (int64_t worker = 0; worker < workers; ++worker) {
      const int64_t begin = (worker * m.n_columns + c) * m.k;
      for (int64_t slot = begin; slot < begin + m.k && m.b_index[slot] >= 0; ++slot) {
        best.insert(m.b_index[slot], m.b_r[slot]);
      }
    }
  }
};

// Adds up rows and matches them.
struct MatchKernel {
  static constexpr int kMaxThreads = 1024;
  static constexpr int kBlocksPerMultiprocessor = 1;
  Accumulation work;
  Matching matching;
  SharedRows shared_rows;

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    double* const best_of_threads = doubles_of(block.shared());
    accumulate_all(block, work, [&](Block& b, Head* head, const Limbs& limbs) {
      const int32_t feature = head->feature;
      const int64_t* row = nullptr;
      if (head->row >= 0) {
        row = shared_rows.sums + head->row * work.n_columns;
        if (!shared_rows.add(b, head, limbs, work.n_columns)) return;
      }
      match_row(b, matching, feature, RowOfSums{limbs, row}, head, best_of_threads);
    });
  }
};

// Matches rows that were added up before: block i takes the features i, i + blocks, ...
struct MatchSumsKernel {
  static constexpr int kMaxThreads = 1024;
  static constexpr int kBlocksPerMultiprocessor = 1;
  Matching matching;
  const int64_t* s_ab;  // [F_a, F_b]
  int64_t n_features_a;
  int64_t n_features_b;
  int64_t workers;

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    for (int64_t f = block.index(); f < n_features_a; f += workers) {
      if (!(matching.variance_a[f] > 0.0)) continue;
      const RowOfSums sums{{nullptr, nullptr}, s_ab + f * n_features_b + matching.first};
      match_row(block, matching, static_cast<int32_t>(f), sums, head_of(block.shared()), doubles_of(block.shared()));
    }
  }
};

}  // namespace semconv::cuda
