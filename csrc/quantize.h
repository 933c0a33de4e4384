// The exact-integer contract: power-of-two scales, uint16 codes, and the one formula that turns integer sums into r.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace semconv {

using int128 = __int128;

inline constexpr double kMaxCode = 65535.0;

// Smallest e with max / 2^e <= 65535; 0 for a feature that is never active.
SEMCONV_HD inline int scale_exponent(double max) {
  if (max <= 0.0) return 0;
  int exponent = 0;
  const double mantissa = frexp(max, &exponent);  // max = mantissa * 2^exponent, mantissa in [0.5, 1)
  return mantissa * 65536.0 > kMaxCode ? exponent - 15 : exponent - 16;
}

// round_half_even(value / 2^e), saturated at 65535: the product is exact in double, and adding 2^52 leaves no bit below
// one, rounding half to even as every IEEE addition does. (nearbyint is a library call where the compiler may not
// assume SSE4.1.)
SEMCONV_HD inline uint16_t code_of(double value, double inverse_scale) {
  const double scaled = value * inverse_scale;
  return static_cast<uint16_t>(static_cast<int64_t>((scaled < kMaxCode ? scaled : kMaxCode) + 0x1p52) & 0xFFFF);
}

// n Q - S^2 >= 0, exact.
SEMCONV_HD inline int128 scaled_variance(int64_t n, int64_t sum, int64_t sum_squares) {
  return static_cast<int128>(n) * sum_squares - static_cast<int128>(sum) * sum;
}

// The nearest double, ties to even, without the compiler's own conversion, so that every device rounds alike. Of the
// bits below the highest 64 only matters whether one is set.
SEMCONV_HD inline double to_double(int128 value) {
  using uint128 = unsigned __int128;
  const uint128 magnitude = value < 0 ? -static_cast<uint128>(value) : static_cast<uint128>(value);
  uint64_t kept = static_cast<uint64_t>(magnitude), rest = static_cast<uint64_t>(magnitude >> 64);
  double scale = 1.0;
  if (rest != 0) {
    int dropped = 1;
    for (int step = 32; step > 0; step /= 2) {
      if (rest >> step == 0) continue;
      rest >>= step;
      dropped += step;
    }
    kept = static_cast<uint64_t>(magnitude >> dropped);
    if (static_cast<uint128>(kept) << dropped != magnitude) kept |= 1;
    scale = ldexp(1.0, dropped);
  }
  const double rounded = static_cast<double>(kept) * scale;
  return value < 0 ? -rounded : rounded;
}

// Quantisation step over sqrt(12) rms of the active values, the rms taken from the codes so that it is exact whatever
// the order; NaN for a feature that is never active.
SEMCONV_HD inline double quantization_noise(int64_t active, int64_t sum_squares) {
  if (active == 0) return static_cast<double>(NAN);
  return sqrt(static_cast<double>(active) / (12.0 * static_cast<double>(sum_squares)));
}

// r = (n S_ab - S_a S_b) / sqrt(var_a var_b); the numerator is exact before it becomes a double.
SEMCONV_HD inline double pearson(int64_t n, int64_t s_ab, int64_t s_a, int64_t s_b, double var_a, double var_b) {
  const int128 numerator = static_cast<int128>(n) * s_ab - static_cast<int128>(s_a) * s_b;
  return to_double(numerator) / sqrt(var_a * var_b);
}

}  // namespace semconv
