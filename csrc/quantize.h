// The exact-integer contract: power-of-two scales, uint16 codes, and the one formula that turns integer sums into r.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace semconv {

using int128 = __int128;

inline constexpr double kMaxCode = 65535.0;

// Smallest e with max / 2^e <= 65535; 0 for a feature that is never active.
inline int scale_exponent(double max) {
  if (max <= 0.0) return 0;
  int exponent = 0;
  const double mantissa = std::frexp(max, &exponent);  // max = mantissa * 2^exponent, mantissa in [0.5, 1)
  return mantissa * 65536.0 > kMaxCode ? exponent - 15 : exponent - 16;
}

// round_half_even(value / 2^e), saturated at 65535: the product is exact in double, and adding 2^52 leaves no bit below
// one, rounding half to even as every IEEE addition does. (nearbyint is a library call where the compiler may not
// assume SSE4.1.)
inline uint16_t code_of(double value, double inverse_scale) {
  return static_cast<uint16_t>(static_cast<int64_t>(std::min(value * inverse_scale, kMaxCode) + 0x1p52) & 0xFFFF);
}

// n Q - S^2 >= 0, exact.
inline int128 scaled_variance(int64_t n, int64_t sum, int64_t sum_squares) {
  return static_cast<int128>(n) * sum_squares - static_cast<int128>(sum) * sum;
}

// Quantisation step over sqrt(12) rms of the active values, the rms taken from the codes so that it is exact whatever
// the order; NaN for a feature that is never active.
inline double quantization_noise(int64_t active, int64_t sum_squares) {
  if (active == 0) return std::numeric_limits<double>::quiet_NaN();
  return std::sqrt(static_cast<double>(active) / (12.0 * static_cast<double>(sum_squares)));
}

// r = (n S_ab - S_a S_b) / sqrt(var_a var_b); the numerator is exact before it becomes a double.
inline double pearson(int64_t n, int64_t s_ab, int64_t s_a, int64_t s_b, double var_a, double var_b) {
  const int128 numerator = static_cast<int128>(n) * s_ab - static_cast<int128>(s_a) * s_b;
  return static_cast<double>(numerator) / std::sqrt(var_a * var_b);
}

}  // namespace semconv
