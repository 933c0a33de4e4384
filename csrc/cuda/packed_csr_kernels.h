// The steps from CSR to the two packed forms that the accumulating kernels read: one functor per step, called once per
// thread.
#pragma once

#include <cstdint>
#include <cstring>

#include "../quantize.h"
#include "block.h"

namespace semconv::cuda {

inline constexpr int64_t kTokenLanes = 8;  // threads that walk one token's entries together

// One quad is what a thread loads at once: four records of one token, each a column in the low and a code in the high
// half; a record of code 0 fills up the last quad of a row.
struct alignas(16) Quad {
  uint32_t record[4];
};

// One entry of a posting list: where the token's row of quads starts, how long it is, and the A-feature's code there.
struct alignas(8) Posting {
  uint32_t row;  // in quads
  uint16_t quads;
  uint16_t code;
};

// CSR on the device. Values are float16 or float32; their bits rise with them, because they are not negative.
struct CsrView {
  const int64_t* indptr;   // [n_tokens + 1]
  const int32_t* indices;  // [nnz]
  const void* values;      // [nnz]
  bool half;
  int64_t n_tokens;
  int64_t n_features;
  int64_t nnz;

  SEMCONV_HD uint32_t bits(int64_t entry) const {  // -0.0 counts as 0.0
    if (half) {
      const uint16_t v = static_cast<const uint16_t*>(values)[entry];
      return v == 0x8000u ? 0u : v;
    }
    const uint32_t v = static_cast<const uint32_t*>(values)[entry];
    return v == 0x80000000u ? 0u : v;
  }
  SEMCONV_HD uint32_t largest_finite() const { return half ? 0x7BFFu : 0x7F7FFFFFu; }
  SEMCONV_HD double value_of(uint32_t bits) const {
    float value = 0.0f;
    if (half) {
      const uint32_t exponent = bits >> 10, mantissa = bits & 0x3FFu;
      if (exponent == 0) return static_cast<double>(mantissa) * 0x1p-24;
      bits = (exponent + 112) << 23 | mantissa << 13;
    }
    memcpy(&value, &bits, sizeof(value));
    return static_cast<double>(value);
  }
  SEMCONV_HD double value(int64_t entry) const { return value_of(bits(entry)); }
};

// Marks the first token whose indptr entry is wrong.
struct CheckIndptr {
  CsrView m;
  int64_t* bad_token;  // [1] kNoError before

  SEMCONV_HD void operator()(int64_t token) const {
    const bool good = m.indptr[token] <= m.indptr[token + 1] && (token > 0 || m.indptr[0] == 0) &&
                      (token + 1 < m.n_tokens || m.indptr[m.n_tokens] == m.nnz);
    if (!good) lower_to(bad_token, token);
  }
};

// Marks the first wrong entry and learns the range of every feature. Called kTokenLanes times per token; does nothing
// where indptr is wrong.
struct ScanEntries {
  CsrView m;
  const int64_t* bad_token;  // [1]
  int64_t* bad_entry;        // [1] kNoError before
  uint32_t* max_bits;        // [F] 0 before
  uint32_t* stored;          // [F] 0 before: entries
  uint32_t* active;          // [F] 0 before: entries above zero

  SEMCONV_HD void operator()(int64_t i) const {
    if (*bad_token != kNoError) return;
    const int64_t token = i / kTokenLanes, begin = m.indptr[token], end = m.indptr[token + 1];
    for (int64_t entry = begin + i % kTokenLanes; entry < end; entry += kTokenLanes) {
      const int32_t f = m.indices[entry];
      const uint32_t bits = m.bits(entry);
      if (f < 0 || f >= m.n_features || (entry > begin && m.indices[entry - 1] >= f) || bits > m.largest_finite()) {
        lower_to(bad_entry, entry);
        continue;
      }
      raise_to(max_bits + f, bits);
      fetch_add(stored + f, 1u);
      if (bits > 0) fetch_add(active + f, 1u);
    }
  }
};

// The contract's scale of every feature, from its largest value.
struct LearnScales {
  CsrView m;
  const uint32_t* max_bits;  // [F]
  double* inverse_scale;     // [F] 1 / s

  SEMCONV_HD void operator()(int64_t f) const {
    inverse_scale[f] = ldexp(1.0, -scale_exponent(m.value_of(max_bits[f])));
  }
};

// Sums over the codes of every feature; null pointers where they are known already.
struct MomentSums {
  int64_t* sum;          // [F] 0 before
  int64_t* sum_squares;  // [F] 0 before

  SEMCONV_HD void add(int32_t f, uint32_t code) const {
    if (sum == nullptr) return;
    fetch_add(sum + f, static_cast<int64_t>(code));
    fetch_add(sum_squares + f, static_cast<int64_t>(static_cast<uint64_t>(code) * code));
  }
};

// The entries of a token that lie in the columns [first, first + count).
struct ColumnRange {
  int64_t first;
  int64_t count;

  SEMCONV_HD int64_t lower_bound(const CsrView& m, int64_t token, int64_t column) const {
    int64_t low = m.indptr[token], high = m.indptr[token + 1];
    if (column <= 0) return low;
    if (column >= m.n_features) return high;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (m.indices[middle] < column) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  SEMCONV_HD int64_t begin(const CsrView& m, int64_t token) const { return lower_bound(m, token, first); }
  SEMCONV_HD int64_t end(const CsrView& m, int64_t token) const { return lower_bound(m, token, first + count); }
};

struct CountQuads {
  CsrView b;
  ColumnRange columns;
  int64_t* quads;  // [n_tokens]

  SEMCONV_HD void operator()(int64_t token) const {
    quads[token] = (columns.end(b, token) - columns.begin(b, token) + 3) / 4;
  }
};

// Writes the records of a column block. Called kTokenLanes times per token.
struct PackRows {
  CsrView b;
  ColumnRange columns;
  const double* inverse_scale;  // [F]
  const int64_t* row_start;     // [n_tokens + 1] in quads
  uint32_t* records;            // [4 * row_start[n_tokens]]
  MomentSums moments;

  SEMCONV_HD void operator()(int64_t i) const {
    const int64_t token = i / kTokenLanes, begin = columns.begin(b, token), end = columns.end(b, token);
    const int64_t n_records = 4 * (row_start[token + 1] - row_start[token]);
    uint32_t* const row = records + 4 * row_start[token];
    for (int64_t slot = i % kTokenLanes; slot < n_records; slot += kTokenLanes) {
      uint32_t record = 0;
      if (begin + slot < end) {
        const int32_t f = b.indices[begin + slot];
        const uint32_t code = code_of(b.value(begin + slot), inverse_scale[f]);
        moments.add(f, code);
        record = static_cast<uint32_t>(f - columns.first) | code << 16;
      }
      row[slot] = record;
    }
  }
};

// Writes the posting lists of A. The order within a list is whatever the threads make it: sums do not depend on it.
// Called kTokenLanes times per token.
struct ScatterPostings {
  CsrView a;
  const double* inverse_scale;  // [F]
  const int64_t* row_start;     // [n_tokens + 1] in quads
  const int32_t* partner;       // [n_tokens] the row that each token meets; null for its own
  int64_t* next;                // [F] where each list starts, before
  Posting* postings;            // [nnz]
  MomentSums moments;

  SEMCONV_HD void operator()(int64_t i) const {
    const int64_t token = i / kTokenLanes;
    const int64_t* const start = row_start + (partner == nullptr ? token : partner[token]);
    const auto row = static_cast<uint32_t>(start[0]);
    const auto quads = static_cast<uint16_t>(start[1] - start[0]);
    for (int64_t entry = a.indptr[token] + i % kTokenLanes; entry < a.indptr[token + 1]; entry += kTokenLanes) {
      const int32_t f = a.indices[entry];
      const uint16_t code = code_of(a.value(entry), inverse_scale[f]);
      moments.add(f, code);
      postings[fetch_add(next + f, int64_t{1})] = Posting{row, quads, code};
    }
  }
};

// Adds to counts[f] the entries of feature f that do not fit its scale and were stored as 65535.
struct CountSaturated {
  CsrView m;
  const double* inverse_scale;  // [F]
  int64_t* counts;              // [F]

  SEMCONV_HD void operator()(int64_t entry) const {
    const int32_t f = m.indices[entry];
    if (m.value(entry) * inverse_scale[f] > kMaxCode) fetch_add(counts + f, int64_t{1});
  }
};

}  // namespace semconv::cuda
