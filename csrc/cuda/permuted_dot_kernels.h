// The steps of permuted_dot on the device, in the order of additions of the CPU's.
#pragma once

#include "../permuted_dot.h"
#include "block.h"

namespace semconv::cuda {

// The products of one row under one permutation, in kLanes partial sums; a block takes a few rows, kLanes threads each.
struct PermutedRows {
  static constexpr int kMaxThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 3;  // with more, registers spill
  static constexpr int kRows = kMaxThreads / kLanes;
  const double* x;              // [n, n]
  const double* y;              // [n, n]
  const int32_t* permutations;  // [m, n]
  int64_t n;
  int64_t m;
  double* row_sums;  // [n, m]

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    auto* const lanes = reinterpret_cast<double*>(block.shared());
    // Blocks that run together share rows of x.
    const int64_t permutation = block.index() % m, first = block.index() / m * kRows;
    const int32_t* const p = permutations + permutation * n;
    block.threads([&](int t) {
      const int64_t i = first + t / kLanes;
      lanes[t] = i < n ? lane_sum(x + i * n, y + p[i] * n, p, i, t % kLanes) : 0.0;
    });
    block.threads([&](int t) {
      if (t % kLanes == 0 && first + t / kLanes < n)
        row_sums[(first + t / kLanes) * m + permutation] = sum_of_lanes(lanes + t);
    });
  }
};

// Adds up the rows of one permutation, in order.
struct SumRows {
  const double* row_sums;  // [n, m]
  int64_t n;
  int64_t m;
  double* out;  // [m]

  SEMCONV_HD void operator()(int64_t permutation) const {
    double total = 0.0;
    for (int64_t i = 0; i < n; ++i) total += row_sums[i * m + permutation];
    out[permutation] = total;
  }
};

}  // namespace semconv::cuda
