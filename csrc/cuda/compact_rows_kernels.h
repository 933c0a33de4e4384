// The steps of compact_rows on the device: the dense chunk is read once, to mark its entries; then only they are read.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"

namespace semconv::cuda {

enum class Float : int { k32, k16, kBrain16 };  // float32, float16, bfloat16

SEMCONV_HD inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}
SEMCONV_HD inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

SEMCONV_HD inline float float_of_half(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1Fu, mantissa = bits & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return float_of_bits(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13);
}

// The nearest float16 of a value >= 0, ties to even; infinity beyond its range.
SEMCONV_HD inline uint16_t half_of_float(float value) {
  if (value >= 65520.0f) return 0x7C00u;
  if (value < 0x1p-14f) {  // adding 1/2 rounds to multiples of 2^-24, which is what subnormals are
    return static_cast<uint16_t>(bits_of_float(value + 0.5f) - bits_of_float(0.5f));
  }
  const uint32_t bits = bits_of_float(value);
  return static_cast<uint16_t>((bits + 0xFFFu + (bits >> 13 & 1u) - (112u << 23)) >> 13);
}

SEMCONV_HD inline float load(const void* x, Float type, int64_t i) {
  if (type == Float::k32) return static_cast<const float*>(x)[i];
  const uint16_t bits = static_cast<const uint16_t*>(x)[i];
  return type == Float::k16 ? float_of_half(bits) : float_of_bits(static_cast<uint32_t>(bits) << 16);
}

inline constexpr int64_t kMarkedColumns = 8;  // per byte of the marks, and per thread: 16 bytes of a 16-bit chunk

// Marks the entries of a row, one bit each, and counts them; one block per row.
struct MarkEntries {
  static constexpr int kMaxThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 5;  // with more, registers spill
  const void* x;                                      // [n_rows, n_columns]
  Float type;
  bool store_half;
  const float* threshold;  // [n_columns] or null
  int64_t n_columns;
  uint8_t* marks;      // [n_rows, ceil(n_columns / kMarkedColumns)]
  int64_t* counts;     // [n_rows]
  int64_t* bad_place;  // [1] first value that cannot be stored, kNoError before

  // 0: no entry. 1: an entry. 2: neither, an error.
  SEMCONV_HD int kind(float value, int64_t column) const {
    if (threshold != nullptr && value <= threshold[column]) return 0;
    if (value == 0.0f) return 0;
    if (!(value > 0.0f) || value > 3.402823466e+38f) return 2;
    if (!store_half) return 1;
    const uint16_t stored = half_of_float(value);
    return stored == 0 ? 0 : stored == 0x7C00u ? 2 : 1;
  }

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    auto* const count = reinterpret_cast<uint32_t*>(block.shared());
    const int64_t row = block.index(), n_bytes = (n_columns + kMarkedColumns - 1) / kMarkedColumns;
    block.threads([&](int t) {
      if (t == 0) *count = 0;
    });
    block.threads([&](int t) {
      uint32_t found = 0;
      for (int64_t byte = t; byte < n_bytes; byte += block.n_threads()) {
        uint32_t marked = 0;
        float values[kMarkedColumns];  // all loads first, so that they are under way together
        for (int64_t j = 0; j < kMarkedColumns; ++j) {
          const int64_t column = byte * kMarkedColumns + j;
          values[j] = column < n_columns ? load(x, type, row * n_columns + column) : 0.0f;
        }
        for (int64_t j = 0; j < kMarkedColumns; ++j) {
          const int64_t column = byte * kMarkedColumns + j;
          if (column >= n_columns) break;
          const int is = kind(values[j], column);
          if (is == 2) lower_to(bad_place, row * n_columns + column);
          if (is == 1) {
            marked |= 1u << j;
            ++found;
          }
        }
        marks[row * n_bytes + byte] = static_cast<uint8_t>(marked);
      }
      if (found > 0) fetch_add(count, found);
    });
    block.threads([&](int t) {
      if (t == 0) counts[row] = *count;
    });
  }
};

// Writes the marked entries of a row in order; one block per row.
struct FillEntries {
  static constexpr int kMaxThreads = 256;
  static constexpr int kBlocksPerMultiprocessor = 5;  // with more, registers spill
  const void* x;
  Float type;
  bool store_half;
  int64_t n_columns;
  const uint8_t* marks;   // as MarkEntries leaves them
  const int64_t* indptr;  // [n_rows + 1]
  int32_t* indices;       // [nnz]
  void* values;           // [nnz] float16 or float32

  static SEMCONV_HD uint32_t popcount(uint32_t byte) {
    uint32_t n = 0;
    for (; byte != 0; byte &= byte - 1) ++n;
    return n;
  }

  SEMCONV_PHASES
  template <typename Block>
  SEMCONV_HD void operator()(Block& block) const {
    // [2][n] entries before a thread's range, in two arrays that take turns.
    auto* const before = reinterpret_cast<uint32_t*>(block.shared());
    const int n = block.n_threads();
    const int64_t row = block.index(), n_bytes = (n_columns + kMarkedColumns - 1) / kMarkedColumns;
    const int64_t per_thread = (n_bytes + n - 1) / n;
    const uint8_t* const marked = marks + row * n_bytes;
    const auto end_of = [&](int t) { return (t + 1) * per_thread < n_bytes ? (t + 1) * per_thread : n_bytes; };
    block.threads([&](int t) {
      uint32_t count = 0;
      for (int64_t byte = t * per_thread; byte < end_of(t); ++byte) count += popcount(marked[byte]);
      before[t] = count;
    });
    int turn = 0;  // inclusive scan
    for (int step = 1; step < n; step *= 2, turn ^= 1) {
      block.threads([&](int t) {
        const uint32_t own = before[turn * n + t];
        before[(turn ^ 1) * n + t] = t >= step ? own + before[turn * n + t - step] : own;
      });
    }
    block.threads([&](int t) {
      int64_t out = indptr[row] + (t > 0 ? before[turn * n + t - 1] : 0);
      for (int64_t byte = t * per_thread; byte < end_of(t); ++byte) {
        for (int64_t j = 0; j < kMarkedColumns; ++j) {
          if ((marked[byte] >> j & 1u) == 0) continue;
          const int64_t column = byte * kMarkedColumns + j;
          const float value = load(x, type, row * n_columns + column);
          indices[out] = static_cast<int32_t>(column);
          if (store_half) {
            static_cast<uint16_t*>(values)[out] = half_of_float(value);
          } else {
            static_cast<float*>(values)[out] = value;
          }
          ++out;
        }
      }
    });
  }
};

// Marks the first threshold that is no finite number >= 0.
struct CheckThreshold {
  const float* threshold;
  int64_t* bad_place;

  SEMCONV_HD void operator()(int64_t f) const {
    if (!(threshold[f] >= 0.0f) || threshold[f] > 3.402823466e+38f) lower_to(bad_place, f);
  }
};

}  // namespace semconv::cuda
