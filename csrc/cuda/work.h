// How the work of one column block is cut: plain functions of sizes, so that a test can see every decision.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../host_device.h"

namespace semconv::cuda {

struct DeviceLimits {
  int64_t multiprocessors;
  int64_t shared_bytes;   // the most that one block may have
  int64_t threads;        // of the blocks that share a row of accumulators, a power of two from 32 on
  int64_t scratch_bytes;  // for the rows that blocks share, and again for what every worker finds for the columns
};

// Each posting adds less than 2^16 to either limb of a column, so this many cannot overflow 32 bits.
inline constexpr int64_t kMostPostings = 65536;
inline constexpr int64_t kLeastPostings = 4096;  // below this, claiming and clearing cost more than adding
inline constexpr int64_t kItemsPerWorker = 8;    // what evens out the load when lists are long
inline constexpr int64_t kHeaderBytes = 64;
static_assert(kMostPostings * 0xFFFF <= UINT32_MAX);

// Shared memory of a block: header, one double per thread, then two 32-bit limbs per column.
inline int64_t shared_bytes(int64_t n_columns, int64_t threads) { return kHeaderBytes + 8 * threads + 8 * n_columns; }

// How many columns one pass takes: what shared memory holds, what the workers' tables of k partners per column may
// cost, and what 16 bits can name. In equal shares, so that no pass is nearly empty.
inline int64_t columns_per_pass(int64_t n_features, const DeviceLimits& limits, int64_t k) {
  const int64_t by_shared = (limits.shared_bytes - kHeaderBytes - 8 * limits.threads) / 8;
  const int64_t by_table = k == 0 ? by_shared : limits.scratch_bytes / (16 * k * limits.multiprocessors);
  const int64_t most = std::max<int64_t>(1, std::min<int64_t>({by_shared, by_table, 65536}));
  const int64_t passes = (n_features + most - 1) / most;
  return (n_features + passes - 1) / passes;
}

// Threads that share one posting: a power of two in [2, 32], so that each loads at most four quads of a mean row if 32
// do.
inline int64_t lanes_per_posting(int64_t quads, int64_t n_tokens) {
  int64_t lanes = 2;
  while (lanes < 32 && lanes * 4 * n_tokens < quads) lanes *= 2;
  return lanes;
}

// The most postings that one block adds in one go.
inline int64_t part_postings(int64_t nnz, int64_t workers) {
  return std::clamp(nnz / (workers * kItemsPerWorker), kLeastPostings, kMostPostings);
}

// A range of the posting list of a feature that several blocks share; they add into one row of 64-bit sums.
struct Part {
  int64_t first;     // within the feature's list
  int32_t position;  // of the feature in the order of falling list lengths
  int32_t row;       // shared row
  int32_t n_parts;   // of this feature
  int32_t reserved;
};

// Features of one launch, by their position in the order of falling list lengths: parts of long lists first, then whole
// lists.
struct Launch {
  std::vector<Part> parts;
  int64_t n_rows = 0;
  int64_t first_whole = 0, n_whole = 0;
  int64_t n_items() const { return static_cast<int64_t>(parts.size()) + n_whole; }
};

// Cuts lists longer than part_size into parts of at most that many; no launch shares more than most_rows rows.
// long_lists: falling, and holding every list longer than part_size (what is not longer is taken whole).
inline std::vector<Launch> plan(const std::vector<int64_t>& long_lists, int64_t n_features, int64_t part_size,
                                int64_t most_rows) {
  std::vector<Launch> launches(1);
  int64_t position = 0;
  for (; position < static_cast<int64_t>(long_lists.size()) && long_lists[position] > part_size; ++position) {
    if (launches.back().n_rows == most_rows) launches.emplace_back();
    Launch& launch = launches.back();
    const int64_t n_parts = (long_lists[position] + part_size - 1) / part_size;
    for (int64_t part = 0; part < n_parts; ++part) {
      launch.parts.push_back({part * part_size, static_cast<int32_t>(position), static_cast<int32_t>(launch.n_rows),
                              static_cast<int32_t>(n_parts), 0});
    }
    ++launch.n_rows;
  }
  launches.back().first_whole = position;
  launches.back().n_whole = n_features - position;
  return launches;
}

}  // namespace semconv::cuda
