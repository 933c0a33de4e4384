// Looks at permutations that come from outside.
#pragma once

#include "block.h"

namespace semconv::cuda {

// Marks the first place that is out of range or repeats an item; called once per entry.
struct CheckPermutations {
  const int32_t* permutations;  // [m, n]
  int64_t n;
  uint32_t* seen;      // [m, n] 0 before
  int64_t* bad_place;  // [1] kNoError before

  SEMCONV_HD void operator()(int64_t i) const {
    const int64_t item = permutations[i];
    if (item < 0 || item >= n || fetch_add(seen + i / n * n + item, 1u) > 0) lower_to(bad_place, i);
  }
};

}  // namespace semconv::cuda
