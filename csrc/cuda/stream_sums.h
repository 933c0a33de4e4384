// What cross_moments_ does around the products: checks and scans a chunk, and brings the sums of the features up to
// date.
#pragma once

#include <ATen/core/Tensor.h>

#include "device.h"
#include "packed_csr.h"

namespace semconv::cuda {

struct CsrTensors {
  const at::Tensor& indptr;
  const at::Tensor& indices;
  const at::Tensor& values;
};

// Both sides of a chunk that was found to be good; its device is the current one for as long as it lives.
class StreamChunk {
 public:
  // Throws ValueError on anything that breaks the contract of cross_moments_, before the state changes.
  StreamChunk(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, const CsrTensors& a,
              const CsrTensors& b, int64_t headroom_bits);

 private:
  DeviceScope scope_;

 public:
  ScannedCsr a, b;
};

// Gives the features that are new in this chunk their scales, and the scan the scales of the stream.
// sums: int64 [kFeatureSums, F].
void set_scales(const ScannedCsr& m, const at::Tensor& sums, int64_t headroom_bits);

// Adds what the chunk has of every feature to the sums of the stream.
void add_moments(const ScannedCsr& m, const Moments& moments, const at::Tensor& sums);

}  // namespace semconv::cuda
