// The steps of cross_moments_ on the device.
#pragma once

#include "../cross_moments.h"
#include "accumulate_kernels.h"

namespace semconv::cuda {

// Replaces the scales that the scan chose by those of the stream, and gives new features theirs.
struct SetScales {
  CsrView m;
  const uint32_t* max_bits;  // [F]
  const uint32_t* active;    // [F]
  int64_t headroom_bits;
  int64_t* exponent;      // [F] kNoScale until the feature is first active
  double* inverse_scale;  // [F]

  SEMCONV_HD void operator()(int64_t f) const {
    if (exponent[f] == kNoScale && active[f] > 0) {
      exponent[f] = scale_exponent(m.value_of(max_bits[f])) + headroom_bits;
    }
    inverse_scale[f] = exponent[f] == kNoScale ? 1.0 : ldexp(1.0, static_cast<int>(-exponent[f]));
  }
};

// Adds what one chunk has of a feature to the sums of the stream.
struct AddSums {
  int64_t n_features;
  const int64_t* sum;          // [F]
  const int64_t* sum_squares;  // [F]
  const uint32_t* active;      // [F]
  int64_t* sums;               // [kFeatureSums, F]

  SEMCONV_HD void operator()(int64_t f) const {
    sums[kSum * n_features + f] += sum[f];
    sums[kSumSquares * n_features + f] += sum_squares[f];
    sums[kActive * n_features + f] += active[f];
  }
};

// Adds up rows straight into the int64 matrix.
struct CrossMomentsKernel {
  static constexpr int kMaxThreads = 1024;
  static constexpr int kBlocksPerMultiprocessor = 1;
  Accumulation work;
  int64_t* s_ab;  // [F_a, F_b]
  int64_t n_features_b;
  int64_t first;  // column

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    accumulate_all(block, work, [&](Block& b, Head* head, const Limbs& limbs) {
      int64_t* const row = s_ab + head->feature * n_features_b + first;
      b.threads([&](int t) {
        for (int64_t c = t; c < work.n_columns; c += b.n_threads()) {
          const int64_t sum = limbs.sum(c);
          if (sum != 0) fetch_add(row + c, sum);
          limbs.clear(c);
        }
      });
    });
  }
};

}  // namespace semconv::cuda
