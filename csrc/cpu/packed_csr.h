// The two packed forms that best_matches reads on the CPU: records of B (by token) and posting lists of A (by feature).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "huge_page_array.h"

namespace semconv {

inline constexpr int64_t kBlockColumns = 65536;  // a record keeps its column in 16 bits

// One activation matrix whose entries were checked and whose scales were learned. Points into the caller's indices and
// values, which another thread may change meanwhile: whoever reads them checks again what it takes as a place.
struct ScannedCsr {
  const char* side = nullptr;
  int64_t n_tokens = 0;
  int64_t n_features = 0;
  int64_t n_pieces = 0;                             // contiguous ranges of tokens that threads take in every pass
  at::Tensor own_indptr;                            // a copy, so that what was checked is what is read
  const int64_t* indptr = nullptr;                  // [n_tokens + 1] in it
  const int32_t* indices = nullptr;                 // [nnz]
  const at::Tensor* values = nullptr;               // [nnz] float16 | float32
  std::vector<double> max;                          // [F] largest value, 0 where there is none
  std::vector<double> inverse_scale;                // [F] 1 / s, for the smallest s that max fits
  std::vector<int64_t> stored;                      // [F] entries of the feature
  std::vector<int64_t> active;                      // [F] those above zero
  std::vector<std::vector<int64_t>> stored_before;  // [n_pieces][F] entries in the pieces before
};

// Checks every entry (shapes were checked by check_csr_shapes) and learns the scales; indices and values are contiguous
// and outlive the result. Throws ValueError on unsorted, out-of-range or non-finite input.
ScannedCsr scan(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
                const char* side);

// Sums over the codes of every feature.
struct Moments {
  std::vector<int64_t> sum;          // [F] S
  std::vector<int64_t> sum_squares;  // [F] Q
  explicit Moments(int64_t n_features) : sum(n_features, 0), sum_squares(n_features, 0) {}
};

// Columns renumbered by falling number of entries: the accumulators of the features that most updates hit then share
// few cache lines, which keeps them in L1.
struct ColumnOrder {
  std::vector<int32_t> feature;  // [F] column -> feature
  std::vector<int32_t> column;   // [F] feature -> column
};
ColumnOrder order_by_frequency(const ScannedCsr& b);
ColumnOrder natural_order(int64_t n_features);

// Two 16-bit fields, because two narrow loads are cheaper than one wide load and its splitting.
struct Record {
  uint16_t column;  // within the block
  uint16_t code;
};

// Where a row starts and how many records it has, in one word, because two lookups would be two cache misses.
class RowPlace {
 public:
  RowPlace(int64_t start, int64_t length)
      : word_(static_cast<uint64_t>(start) << kLengthBits | static_cast<uint64_t>(length)) {}
  int64_t start() const { return static_cast<int64_t>(word_ >> kLengthBits); }
  int64_t length() const { return static_cast<int64_t>(word_ & ((uint64_t{1} << kLengthBits) - 1)); }

 private:
  static constexpr int kLengthBits = 17;  // kBlockColumns fits
  uint64_t word_;
};

// Rows of the columns [first_column, first_column + n_columns).
struct RecordRows {
  std::vector<int64_t> offsets;   // [n_tokens + 1] where a row starts
  HugePageArray<Record> records;  // [offsets.back()]

  std::vector<RowPlace> places() const;  // [n_tokens]
};
// Quantises on the way, and fills the moments of the columns it packs. Throws ValueError where indices changed so that
// they do not fit.
RecordRows pack_block(const ScannedCsr& b, const ColumnOrder& order, int64_t first_column, int64_t n_columns,
                      Moments& moments);

// The posting list of feature f is [offsets[f], offsets[f + 1]), each entry = token << 16 | code, tokens ascending. One
// array, because the transposition writes to as many places at once as there are features.
struct Postings {
  std::vector<int64_t> offsets;     // [F + 1]
  HugePageArray<uint64_t> entries;  // [nnz]
};
// Quantises on the way, and fills the moments. Throws ValueError where indices changed so that a list has another
// length.
Postings transpose(const ScannedCsr& a, Moments& moments);

// Adds the products of one A-feature's codes with every column's, accumulator[c] += sum over tokens of q_a q_b, for the
// postings [begin, end), which are all of that feature.
void accumulate(const Postings& a, int64_t begin, int64_t end, const RecordRows& b,
                const std::vector<RowPlace>& met,  // [n_tokens] the row that each token of A meets
                int64_t* accumulator);             // [n_columns]
inline void accumulate(const Postings& a, int64_t feature, const RecordRows& b, const std::vector<RowPlace>& met,
                       int64_t* accumulator) {
  accumulate(a, a.offsets[feature], a.offsets[feature + 1], b, met, accumulator);
}

// Adds to counts[f] the entries of feature f that do not fit its scale and were stored as 65535. Throws ValueError
// where indices changed so that they name no feature.
void count_saturated(const ScannedCsr& m, int64_t* counts);  // [F]

}  // namespace semconv
