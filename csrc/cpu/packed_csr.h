// The two packed forms that best_matches reads on the CPU: posting lists of A (by feature) and records of B (by token).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "huge_page_array.h"

namespace semconv {

inline constexpr int64_t kBlockColumns = 65536;  // a record keeps its column in 16 bits

// One activation matrix after quantisation. Pointers into the caller's CSR stay valid while it lives.
struct QuantizedCsr {
  int64_t n_tokens = 0;
  int64_t n_features = 0;
  int64_t n_pieces = 0;                             // contiguous ranges of tokens that threads take in every pass
  const int64_t* indptr = nullptr;                  // [n_tokens + 1]
  const int32_t* indices = nullptr;                 // [nnz]
  HugePageArray<uint16_t> codes;                    // [nnz]
  std::vector<int64_t> stored;                      // [F] entries of the feature
  std::vector<std::vector<int64_t>> stored_before;  // [n_pieces][F] those in the pieces before
  std::vector<int64_t> sum;                         // [F] S
  std::vector<double> variance;                     // [F] n Q - S^2, 0 for a feature that never varies
  std::vector<double> noise;                        // [F] quantisation step over sqrt(12) rms, NaN where never active
};

// Checks every entry (shapes were checked by check_csr_shapes), learns the scales and quantises. Throws ValueError on
// unsorted, out-of-range or non-finite input.
QuantizedCsr quantize(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
                      const char* side);

// CSC of the codes: the posting list of feature f is [offsets[f], offsets[f + 1]), each entry = token << 16 | code,
// tokens ascending. One array, because the transposition writes to as many places at once as there are features.
struct Postings {
  std::vector<int64_t> offsets;     // [F + 1]
  HugePageArray<uint64_t> entries;  // [nnz]
};
Postings transpose(const QuantizedCsr& a);

// Columns renumbered by falling number of entries: the accumulators of the features that most updates hit then share
// few cache lines, which keeps them in L1.
struct ColumnOrder {
  std::vector<int32_t> feature;  // [F] column -> feature
  std::vector<int32_t> column;   // [F] feature -> column
};
ColumnOrder order_columns(const QuantizedCsr& b);

// Rows of the columns [first_column, first_column + n_columns), each record = (column - first_column) | code << 16.
struct RecordRows {
  std::vector<int64_t> offsets;     // [n_tokens + 1]
  HugePageArray<uint32_t> records;  // [nnz of the block]
};
RecordRows pack_block(const QuantizedCsr& b, const ColumnOrder& order, int64_t first_column, int64_t n_columns);

}  // namespace semconv
