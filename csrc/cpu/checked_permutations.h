// Permutations that come from outside, which the CPU's ops take places from.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/clone.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../checks.h"

namespace semconv {

// A contiguous copy of int32 [m, n], so that what was checked is what is read. Throws ValueError unless every row is a
// permutation of 0..n-1.
inline at::Tensor checked_permutations(const at::Tensor& permutations) {
  at::Tensor copy = at::clone(permutations, at::MemoryFormat::Contiguous);
  const int64_t n = copy.size(1);
  const int32_t* items = copy.const_data_ptr<int32_t>();
  std::vector<bool> seen(n);
  for (int64_t row = 0; row < copy.size(0); ++row, items += n) {
    std::fill(seen.begin(), seen.end(), false);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t item = items[i];
      if (item < 0 || item >= n || seen[item]) throw_no_permutation(item, n, row);
      seen[item] = true;
    }
  }
  return copy;
}

}  // namespace semconv
