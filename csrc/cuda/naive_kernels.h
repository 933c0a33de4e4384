// The two steps of naive_cross_moments_.
#pragma once

#include "packed_csr_kernels.h"

namespace semconv::cuda {

// Writes the code of every entry and adds up the moments; called once per entry.
struct EncodeEntries {
  CsrView m;
  const double* inverse_scale;  // [F]
  uint16_t* codes;              // [nnz]
  MomentSums moments;

  SEMCONV_HD void operator()(int64_t entry) const {
    const int32_t f = m.indices[entry];
    codes[entry] = code_of(m.value(entry), inverse_scale[f]);
    moments.add(f, codes[entry]);
  }
};

// Adds every product of one token to its cell. Called kLanes times per token, once for each thread of its group; the
// group walks A's entries together and shares out B's.
struct AddProducts {
  static constexpr int64_t kLanes = 32;
  CsrView a;
  CsrView b;
  const uint16_t* a_codes;  // [nnz of a]
  const uint16_t* b_codes;  // [nnz of b]
  int64_t* s_ab;            // [F_a, F_b]

  SEMCONV_HD void operator()(int64_t i) const {
    const int64_t token = i / kLanes;
    for (int64_t x = a.indptr[token]; x < a.indptr[token + 1]; ++x) {
      int64_t* const row = s_ab + a.indices[x] * b.n_features;
      const int64_t code = a_codes[x];
      for (int64_t y = b.indptr[token] + i % kLanes; y < b.indptr[token + 1]; y += kLanes) {
        fetch_add(row + b.indices[y], code * b_codes[y]);
      }
    }
  }
};

}  // namespace semconv::cuda
