// The kernels that measure what a device allows: shared-memory adds and the reading of rows, with nothing around them.
#pragma once

#include "accumulate_kernels.h"

namespace semconv::cuda {

inline constexpr int64_t kAddsPerColumn = 1024;  // on average; 65,536 of the largest would fill a limb

// Every thread adds to columns that a linear congruential generator of its own draws.
struct SharedAdds {
  static constexpr int kMaxThreads = 1024;
  static constexpr int kBlocksPerMultiprocessor = 1;
  int64_t n_columns;  // at most 65536
  int64_t n_rounds;   // adds per thread
  uint32_t code;      // a field, or the compiler would know the product and add it by another instruction
  int64_t* sums;      // [blocks, n_columns] written

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    const int n = block.n_threads();
    const Limbs limbs = limbs_of(block.shared(), n, n_columns);
    block.threads([&](int t) {
      for (int64_t c = t; c < n_columns; c += n) limbs.clear(c);
    });
    block.threads([&](int t) {
      auto state = static_cast<uint32_t>(block.index() * n + t) * 2654435761u + 1u;
      const auto columns = static_cast<uint32_t>(n_columns);
      for (int64_t round = 0; round < n_rounds; ++round) {
        state = state * 1664525u + 1013904223u;
        const uint32_t column = ((state >> 16) * columns) >> 16;
        limbs.add(code, column | 1u << 16);
      }
    });
    block.threads([&](int t) {
      for (int64_t c = t; c < n_columns; c += n) sums[block.index() * n_columns + c] = limbs.sum(c);
    });
  }
};

// Groups of `lanes` threads read one row after the other.
struct GatherRows {
  static constexpr int kMaxThreads = 512;
  static constexpr int kBlocksPerMultiprocessor = 3;  // 1536 threads, the most that sm_86 and sm_89 run
  const Quad* rows;                                   // [n_rows, quads]
  const int32_t* picks;                               // [n_picks]
  int64_t n_picks;
  int64_t quads;
  int64_t n_blocks;
  int lanes;
  int64_t* sum;  // [1] 0 before

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    const int groups = block.n_threads() / lanes;
    block.threads([&](int t) {
      int64_t found = 0;
      for (int64_t i = block.index() * groups + t / lanes; i < n_picks; i += n_blocks * groups) {
        const Quad* const row = rows + picks[i] * quads;
        for (int64_t q = t % lanes; q < quads; q += lanes) {
          const Quad quad = row[q];
          for (const uint32_t word : quad.record) found += word;
        }
      }
      fetch_add(sum, found);
    });
  }
};

}  // namespace semconv::cuda
