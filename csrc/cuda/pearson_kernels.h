// What the sufficient statistics of a stream say, step by step on the device.
#pragma once

#include "../cross_moments.h"
#include "../quantize.h"
#include "block.h"

namespace semconv::cuda {

// Marks the first feature whose sums no data can have.
struct CheckSums {
  int64_t n_tokens;
  int64_t n_features;
  const int64_t* sums;   // [kFeatureSums, F]
  int64_t* bad_feature;  // [1] kNoError before

  SEMCONV_HD void operator()(int64_t f) const {
    if (!sums_are_possible(n_tokens, sums[kSum * n_features + f], sums[kSumSquares * n_features + f],
                           sums[kActive * n_features + f])) {
      lower_to(bad_feature, f);
    }
  }
};

// r of one pair; called once per entry of S_ab.
struct Correlate {
  int64_t n_tokens;
  int64_t n_features_b;
  const int64_t* s_ab;       // [F_a, F_b]
  const int64_t* sum_a;      // [F_a]
  const int64_t* sum_b;      // [F_b]
  const double* variance_a;  // [F_a]
  const double* variance_b;  // [F_b]
  double* r;                 // [F_a, F_b] NaN where a feature never varies
  double most;               // what |r| can be
  int64_t* bad_place;        // [1] kNoError before: the first place above

  SEMCONV_HD void operator()(int64_t i) const {
    const int64_t f = i / n_features_b, g = i % n_features_b;
    const bool varies = variance_a[f] > 0.0 && variance_b[g] > 0.0;
    r[i] = varies ? pearson(n_tokens, s_ab[i], sum_a[f], sum_b[g], variance_a[f], variance_b[g])
                  : static_cast<double>(NAN);
    if (r[i] > most || r[i] < -most) lower_to(bad_place, i);
  }
};

}  // namespace semconv::cuda
