// What this machine allows at most: the two rates that bound best_matches, measured with its own access pattern.
#pragma once

#include <cstdint>

namespace semconv {

struct Ceilings {
  double updates_per_ns;         // accumulate() on rows and accumulators that stay in L1, all threads together
  double gathered_bytes_per_ns;  // rows of an array beyond the caches read in random order, all threads together
};

// row_length: records per row, 4 bytes each, from 1 to 65536. Takes about half a second.
Ceilings measure_ceilings_cpu(int64_t row_length);

}  // namespace semconv
