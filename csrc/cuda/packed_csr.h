// The two packed forms that the accumulating kernels read: quads of records of B (by token) and posting lists of A (by
// feature), built on the device.
#pragma once

#include <ATen/core/Tensor.h>

#include "packed_csr_kernels.h"

namespace semconv::cuda {

// One activation matrix whose entries were checked and whose scales were learned; keeps its tensors alive.
struct ScannedCsr {
  at::Tensor indptr, indices, values;  // contiguous
  CsrView view;
  at::Tensor max_bits;       // int32 [F] bits of the largest value
  at::Tensor stored;         // int32 [F] entries of the feature
  at::Tensor active;         // int32 [F] those above zero
  at::Tensor inverse_scale;  // float64 [F]
  at::Tensor errors;         // int64 [2] first wrong token and entry, kNoError where there is none
};

// Starts the scan; shapes were checked by check_csr_shapes. Nothing has been checked before throw_if_bad.
ScannedCsr scan(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features);

// Waits for both scans; throws ValueError on unsorted, out-of-range or non-finite input, in the words of the CPU's
// scan.
void throw_if_bad(const ScannedCsr& a, const ScannedCsr& b);

// Sums over the codes of every feature, int64 [F].
struct Moments {
  at::Tensor sum, sum_squares;
  Moments(int64_t n_features, const at::TensorOptions& options);
  MomentSums sums(bool wanted) const;
};

struct PackedRows {
  at::Tensor row_start;  // int64 [n_tokens + 1] in quads
  at::Tensor records;    // int32 [4 * quads]
};
// Packs the columns [first, first + count) of B and adds their moments.
PackedRows pack_rows(const ScannedCsr& b, ColumnRange columns, const Moments& moments);

struct Postings {
  at::Tensor offsets;  // int64 [F + 1]
  at::Tensor entries;  // int64 [nnz], each a Posting
};
// Builds the posting lists of A for the rows of one column block; adds the moments when they are `wanted`.
Postings make_postings(const ScannedCsr& a, const PackedRows& rows,
                       const int32_t* partner,  // [n_tokens] the row that each token meets; null for its own
                       const Moments& moments, bool wanted);

}  // namespace semconv::cuda
