// A float upper bound on r: one multiply-subtract-multiply per feature pair decides whether the exact r is needed.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace semconv {

inline constexpr float kWiden = 16 * FLT_EPSILON;  // above the rounding of the five float steps of bound_of

// What the bound needs of a column (B-feature): n / sd_b widened up, S_b / sd_b widened down.
struct ColumnBound {
  float gain;
  float drift;
};

// What the bound needs of a row (A-feature): S_a and 1 / sd_a.
struct RowBound {
  float sum;
  float inverse_sd;
};

// variance > 0.
SEMCONV_HD inline ColumnBound column_bound(int64_t n_tokens, int64_t sum, double variance) {
  const double sd = sqrt(variance);
  return {static_cast<float>(static_cast<double>(n_tokens) / sd) * (1 + kWiden),
          static_cast<float>(static_cast<double>(sum) / sd) * (1 - kWiden)};
}
SEMCONV_HD inline RowBound row_bound(int64_t sum, double variance) {
  return {static_cast<float>(sum), static_cast<float>(1.0 / sqrt(variance))};
}

// At least r.
SEMCONV_HD inline float bound_of(int64_t s_ab, float gain, float drift, RowBound a) {
  return (static_cast<float>(s_ab) * gain - a.sum * drift) * a.inverse_sd;
}

// The r that a newcomer must reach, as a float that is safely below it.
SEMCONV_HD inline float widened(double threshold) { return static_cast<float>(threshold) - kWiden; }

}  // namespace semconv
