#include "packed_csr.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "../checks.h"
#include "../quantize.h"

namespace semconv {
namespace {

// Runs body(piece, first token, last token) for every one of n_pieces contiguous ranges of tokens, one per thread.
template <typename Body>
void for_pieces(int64_t n_pieces, int64_t n_tokens, const Body& body) {
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) body(p, n_tokens * p / n_pieces, n_tokens * (p + 1) / n_pieces);
  });
}

void check_indptr(const int64_t* indptr, int64_t n_tokens, int64_t nnz, const char* side) {
  TORCH_CHECK_VALUE(indptr[0] == 0, side, ".indptr must start at 0, got ", indptr[0]);
  for (int64_t t = 0; t < n_tokens; ++t) {
    TORCH_CHECK_VALUE(indptr[t] <= indptr[t + 1], side, ".indptr must not decrease, got ", indptr[t], " then ",
                      indptr[t + 1], " at token ", t);
  }
  TORCH_CHECK_VALUE(indptr[n_tokens] == nnz, side, ".indptr must end at nnz = ", nnz, ", got ", indptr[n_tokens]);
}

// The bit patterns of non-negative floats rise with their values, so the first pass compares integers.
inline uint32_t bits_of(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  return bits;
}
inline uint32_t bits_of(at::Half v) { return v.x; }

template <typename T>
constexpr uint32_t kLargestFinite = sizeof(T) == 4 ? 0x7F7FFFFFu : 0x7BFFu;
template <typename T>
constexpr uint32_t kMinusZero = sizeof(T) == 4 ? 0x80000000u : 0x8000u;

template <typename T>
T from_bits(uint32_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(value));  // little-endian: the low bytes of a half
  return value;
}

inline double value_of(float v) { return v; }
inline double value_of(at::Half v) {
  if (v.x < 0x0400u || v.x > 0x7BFFu) return static_cast<float>(v);  // zeros and subnormals
  const uint64_t bits = (static_cast<uint64_t>(v.x) + (uint64_t{1023 - 15} << 10)) << 42;
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// What the first pass learns of one feature, kept together because each entry touches all of it.
struct Range {
  uint32_t max_bits = 0;
  uint32_t stored = 0;
  uint32_t active = 0;
};

// Checks the entries of a range of tokens and learns the ranges of their features.
template <typename T>
void scan(const QuantizedCsr& m, const T* values, int64_t begin, int64_t end, const char* side, Range* ranges) {
  for (int64_t token = begin; token < end; ++token) {
    int64_t previous = -1;
    for (int64_t i = m.indptr[token]; i < m.indptr[token + 1]; ++i) {
      const int64_t f = m.indices[i];
      const uint32_t bits = bits_of(values[i]) == kMinusZero<T> ? 0 : bits_of(values[i]);
      TORCH_CHECK_VALUE(f >= 0 && f < m.n_features, side, ".indices must be in [0, ", m.n_features, "), got ", f,
                        " at token ", token);
      TORCH_CHECK_VALUE(f > previous, side, ".indices must be strictly increasing per token, got ", previous, " then ",
                        f, " at token ", token);
      TORCH_CHECK_VALUE(bits <= kLargestFinite<T>, side, ".values must be finite and >= 0, got ",
                        static_cast<float>(values[i]), " at token ", token);
      previous = f;
      Range& range = ranges[f];
      range.max_bits = std::max(range.max_bits, bits);
      ++range.stored;
      range.active += bits > 0;
    }
  }
}

struct Sums {
  int64_t sum = 0;
  int64_t sum_squares = 0;
};

template <typename T>
void write_codes(QuantizedCsr& m, const T* values, const std::vector<double>& inverse_scale, int64_t begin, int64_t end,
                 Sums* sums) {
  for (int64_t i = m.indptr[begin]; i < m.indptr[end]; ++i) {
    const int32_t f = m.indices[i];
    const uint16_t q = code_of(value_of(values[i]), inverse_scale[f]);
    m.codes[i] = q;
    sums[f].sum += q;
    sums[f].sum_squares += static_cast<int64_t>(q) * q;
  }
}

template <typename T>
void quantize_values(QuantizedCsr& m, const T* values, const char* side) {
  std::vector<std::vector<Range>> ranges(m.n_pieces);
  std::vector<std::vector<Sums>> sums(m.n_pieces);
  for_pieces(m.n_pieces, m.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    ranges[piece].resize(m.n_features);
    scan(m, values, begin, end, side, ranges[piece].data());
  });
  std::vector<double> inverse_scale(m.n_features);
  std::vector<int64_t> active(m.n_features, 0);
  m.stored.assign(m.n_features, 0);
  m.stored_before.assign(m.n_pieces, std::vector<int64_t>(m.n_features));
  for (int64_t f = 0; f < m.n_features; ++f) {
    uint32_t max_bits = 0;
    for (int64_t p = 0; p < m.n_pieces; ++p) {
      max_bits = std::max(max_bits, ranges[p][f].max_bits);
      active[f] += ranges[p][f].active;
      m.stored_before[p][f] = m.stored[f];
      m.stored[f] += ranges[p][f].stored;
    }
    inverse_scale[f] = std::ldexp(1.0, -scale_exponent(value_of(from_bits<T>(max_bits))));
  }
  for_pieces(m.n_pieces, m.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    sums[piece].resize(m.n_features);
    write_codes(m, values, inverse_scale, begin, end, sums[piece].data());
  });
  m.sum.assign(m.n_features, 0);
  m.variance.resize(m.n_features);
  m.noise.resize(m.n_features);
  for (int64_t f = 0; f < m.n_features; ++f) {
    int64_t sum_squares = 0;
    for (const auto& part : sums) {
      m.sum[f] += part[f].sum;
      sum_squares += part[f].sum_squares;
    }
    m.variance[f] = static_cast<double>(scaled_variance(m.n_tokens, m.sum[f], sum_squares));
    // step / (sqrt(12) rms), with the rms taken from the codes so that it is exact whatever the order.
    m.noise[f] = active[f] == 0 ? std::numeric_limits<double>::quiet_NaN()
                                : std::sqrt(static_cast<double>(active[f]) / (12.0 * static_cast<double>(sum_squares)));
  }
}

}  // namespace

QuantizedCsr quantize(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
                      const char* side) {
  QuantizedCsr m;
  m.n_tokens = indptr.numel() - 1;
  m.n_features = n_features;
  m.n_pieces = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), m.n_tokens));
  m.indptr = indptr.const_data_ptr<int64_t>();
  m.indices = indices.const_data_ptr<int32_t>();
  check_indptr(m.indptr, m.n_tokens, indices.numel(), side);
  m.codes = HugePageArray<uint16_t>(indices.numel());
  if (values.scalar_type() == at::kHalf) {
    quantize_values(m, values.const_data_ptr<at::Half>(), side);
  } else {
    quantize_values(m, values.const_data_ptr<float>(), side);
  }
  return m;
}

Postings transpose(const QuantizedCsr& a) {
  Postings out;
  out.offsets.resize(a.n_features + 1);
  out.offsets[0] = 0;
  std::inclusive_scan(a.stored.begin(), a.stored.end(), out.offsets.begin() + 1);
  out.entries = HugePageArray<uint64_t>(out.offsets.back());
  for_pieces(a.n_pieces, a.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    std::vector<int64_t> next = a.stored_before[piece];  // where this piece writes the next posting of a feature
    for (int64_t f = 0; f < a.n_features; ++f) next[f] += out.offsets[f];
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t i = a.indptr[token]; i < a.indptr[token + 1]; ++i) {
        out.entries[next[a.indices[i]]++] = static_cast<uint64_t>(token) << 16 | a.codes[i];
      }
    }
  });
  return out;
}

ColumnOrder order_columns(const QuantizedCsr& b) {
  ColumnOrder order;
  order.feature.resize(b.n_features);
  order.column.resize(b.n_features);
  std::iota(order.feature.begin(), order.feature.end(), 0);
  std::stable_sort(order.feature.begin(), order.feature.end(),
                   [&](int32_t f, int32_t g) { return b.stored[f] > b.stored[g]; });
  for (int64_t c = 0; c < b.n_features; ++c) order.column[order.feature[c]] = static_cast<int32_t>(c);
  return order;
}

RecordRows pack_block(const QuantizedCsr& b, const ColumnOrder& order, int64_t first_column, int64_t n_columns) {
  const auto column_of = [&](int64_t i) { return static_cast<int64_t>(order.column[b.indices[i]]) - first_column; };
  const auto in_block = [&](int64_t i) { return column_of(i) >= 0 && column_of(i) < n_columns; };
  const bool whole = n_columns == b.n_features;  // one block holds all columns: rows begin where the CSR's do
  RecordRows out;
  if (whole) {
    out.offsets.assign(b.indptr, b.indptr + b.n_tokens + 1);
  } else {
    out.offsets.assign(b.n_tokens + 1, 0);
    for_pieces(b.n_pieces, b.n_tokens, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        for (int64_t i = b.indptr[token]; i < b.indptr[token + 1]; ++i) out.offsets[token + 1] += in_block(i);
      }
    });
    std::inclusive_scan(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  }
  out.records = HugePageArray<uint32_t>(out.offsets.back());
  for_pieces(b.n_pieces, b.n_tokens, [&](int64_t, int64_t begin, int64_t end) {
    uint32_t* record = out.records.data() + out.offsets[begin];
    for (int64_t i = b.indptr[begin]; i < b.indptr[end]; ++i) {
      if (whole || in_block(i)) {
        *record++ = static_cast<uint32_t>(column_of(i)) | static_cast<uint32_t>(b.codes[i]) << 16;
      }
    }
  });
  return out;
}

}  // namespace semconv
