// One side of best_matches: its checked entries, and the sums over them that packing fills.
#pragma once

#include <ATen/ops/empty.h>

#include <cstdint>

#include "../quantize.h"
#include "block_matcher.h"
#include "packed_csr.h"

namespace semconv {

struct ScannedSide {
  ScannedCsr csr;
  Moments moments;
  ScannedSide(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
              const char* name)
      : csr(scan(indptr, indices, values, n_features, name)), moments(n_features) {}

  Statistics statistics() const {
    return {csr.n_tokens, moments.sum.data(), moments.sum_squares.data(), csr.n_features};
  }
  at::Tensor noise(const at::TensorOptions& options) const {  // float64 [F]
    at::Tensor out = at::empty({csr.n_features}, options.dtype(at::kDouble));
    for (int64_t f = 0; f < csr.n_features; ++f) {
      out.mutable_data_ptr<double>()[f] = quantization_noise(csr.active[f], moments.sum_squares[f]);
    }
    return out;
  }
};

}  // namespace semconv
