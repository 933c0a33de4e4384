// Keeps the k best (r, index) pairs in order: higher r first, then lower index.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace semconv {

// A view on one feature's row of the outputs; an empty slot has index -1 and r NaN.
struct TopK {
  int64_t* index;  // [k]
  double* r;       // [k]
  int64_t k;

  // The r a newcomer must reach: that of the last slot, or -inf while a slot is empty.
  SEMCONV_HD double threshold() const { return index[k - 1] < 0 ? -HUGE_VAL : r[k - 1]; }

  SEMCONV_HD void insert(int64_t new_index, double new_r) {
    const auto before = [&](int64_t slot) {
      return index[slot] < 0 || new_r > r[slot] || (new_r == r[slot] && new_index < index[slot]);
    };
    if (!before(k - 1)) return;
    int64_t slot = k - 1;
    for (; slot > 0 && before(slot - 1); --slot) {
      index[slot] = index[slot - 1];
      r[slot] = r[slot - 1];
    }
    index[slot] = new_index;
    r[slot] = new_r;
  }
};

}  // namespace semconv
