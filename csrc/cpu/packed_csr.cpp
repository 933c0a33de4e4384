#include "packed_csr.h"

#include <ATen/Parallel.h>
#include <ATen/ops/clone.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>

#include "../checks.h"
#include "../quantize.h"
#include "read_once.h"

namespace semconv {
namespace {

constexpr int64_t kPrefetchRows = 4;    // rows asked for ahead of use
constexpr int64_t kRowsAtOnce = 1024;   // that are ordered by length before they are read
constexpr int64_t kWorthOrdering = 32;  // rows
constexpr int64_t kLongRow = 512;       // records; a row of so many is read at its turn
constexpr int64_t kRowUnroll = 4;       // records
constexpr int64_t kRecordsPerLine = 64 / sizeof(Record);

// Runs body(piece, first token, last token) for every one of n_pieces contiguous ranges of tokens, one per thread. Of
// several pieces that throw, the first by token is heard, whatever the threads do.
template <typename Body>
void for_pieces(int64_t n_pieces, int64_t n_tokens, const Body& body) {
  std::vector<std::exception_ptr> errors(n_pieces);
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) {
      try {
        body(p, n_tokens * p / n_pieces, n_tokens * (p + 1) / n_pieces);
      } catch (...) {
        errors[p] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
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

// The value of an entry that was checked, without its sign, which only -0.0 has. Should it have changed since, it may
// be anything: code_of makes the largest code of what is too large or no number.
inline double read_magnitude(const float* v) { return std::abs(read_once(v)); }
inline double read_magnitude(const at::Half* v) {
  return value_of(at::Half(static_cast<uint16_t>(read_once(v).x & 0x7FFFu), at::Half::from_bits()));
}

// The features of entries that were checked. Made where a loop begins, so that what it needs stays in registers.
class Features {
 public:
  explicit Features(const ScannedCsr& m)
      : indices_(m.indices), n_features_(static_cast<uint32_t>(m.n_features)), side_(m.side) {}
  int32_t operator[](int64_t entry) const {
    const int32_t f = read_once(indices_ + entry);
    if (static_cast<uint32_t>(f) >= n_features_) throw_changed(side_);  // below zero too
    return f;
  }

 private:
  const int32_t* indices_;
  uint32_t n_features_;
  const char* side_;
};

// What the first pass learns of one feature, kept together because each entry touches all of it.
struct Range {
  uint32_t max_bits = 0;
  uint32_t stored = 0;
  uint32_t active = 0;
};

// Checks the entries of a range of tokens and learns the ranges of their features.
template <typename T>
void scan_piece(const ScannedCsr& m, const T* values, int64_t begin, int64_t end, Range* ranges) {
  for (int64_t token = begin; token < end; ++token) {
    int64_t previous = -1;
    for (int64_t i = m.indptr[token]; i < m.indptr[token + 1]; ++i) {
      const int64_t f = read_once(m.indices + i);
      const T value = read_once(values + i);
      const uint32_t bits = bits_of(value) == kMinusZero<T> ? 0 : bits_of(value);
      if (f < 0 || f >= m.n_features || f <= previous || bits > kLargestFinite<T>) {
        check_entry(f, previous, static_cast<float>(value), m.n_features, token, m.side);
      }
      previous = f;
      Range& range = ranges[f];
      range.max_bits = std::max(range.max_bits, bits);
      ++range.stored;
      range.active += bits > 0;
    }
  }
}

// All that a packing loop reads and writes of one feature, on one cache line.
struct Slot {
  int64_t place = 0;  // pack_block: the column within the block, or -1; transpose: where the next posting goes
  double inverse_scale = 1.0;
  int64_t sum = 0;
  int64_t sum_squares = 0;

  uint16_t add(double value) {
    const uint16_t q = code_of(value, inverse_scale);
    sum += q;
    sum_squares += static_cast<int64_t>(q) * q;
    return q;
  }
};
using Slots = std::vector<Slot>;  // [F]

// Joins the sums of all pieces into the moments of one feature.
void set_moments(const std::vector<Slots>& pieces, int64_t feature, Moments& moments) {
  moments.sum[feature] = moments.sum_squares[feature] = 0;
  for (const Slots& piece : pieces) {
    moments.sum[feature] += piece[feature].sum;
    moments.sum_squares[feature] += piece[feature].sum_squares;
  }
}

// Calls body(pointer to the values), typed.
template <typename Body>
void with_values(const at::Tensor& values, const Body& body) {
  if (values.scalar_type() == at::kHalf) {
    body(values.const_data_ptr<at::Half>());
  } else {
    body(values.const_data_ptr<float>());
  }
}

template <typename T>
void scan_values(ScannedCsr& m, const T* values) {
  std::vector<std::vector<Range>> ranges(m.n_pieces);
  for_pieces(m.n_pieces, m.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    ranges[piece].resize(m.n_features);
    scan_piece(m, values, begin, end, ranges[piece].data());
  });
  for (int64_t f = 0; f < m.n_features; ++f) {
    uint32_t max_bits = 0;
    for (int64_t p = 0; p < m.n_pieces; ++p) {
      max_bits = std::max(max_bits, ranges[p][f].max_bits);
      m.active[f] += ranges[p][f].active;
      m.stored_before[p][f] = m.stored[f];
      m.stored[f] += ranges[p][f].stored;
    }
    m.max[f] = value_of(from_bits<T>(max_bits));
    m.inverse_scale[f] = std::ldexp(1.0, -scale_exponent(m.max[f]));
  }
}

// Where the rows of a block start.
std::vector<int64_t> row_offsets(const ScannedCsr& b, const ColumnOrder& order, int64_t first, int64_t count) {
  std::vector<int64_t> offsets(b.n_tokens + 1, 0);
  for_pieces(b.n_pieces, b.n_tokens, [&](int64_t, int64_t begin, int64_t end) {
    const Features features(b);
    for (int64_t token = begin; token < end; ++token) {
      int64_t length = b.indptr[token + 1] - b.indptr[token];
      if (count < b.n_features) {
        length = 0;
        for (int64_t i = b.indptr[token]; i < b.indptr[token + 1]; ++i) {
          const int64_t column = order.column[features[i]] - first;
          length += column >= 0 && column < count;
        }
      }
      offsets[token + 1] = length;
    }
  });
  std::inclusive_scan(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

// Adds code times a row.
inline void add_row(const Record* record, int64_t length, uint64_t code, int64_t* accumulator) {
  const auto add = [&](Record one) {
    int64_t& sum = accumulator[one.column];
    sum = static_cast<int64_t>(static_cast<uint64_t>(sum) + code * one.code);  // a product < 2^32
  };
  for (; length >= kRowUnroll; length -= kRowUnroll, record += kRowUnroll) {
    for (int64_t u = 0; u < kRowUnroll; ++u) add(record[u]);
  }
  for (; length > 0; --length) add(*record++);
}

// Adds the rows that n <= kRowsAtOnce postings meet, by rising length. The processor foresees a loop over rows of one
// length, while one that follows each row's own costs a mispredicted branch a row: a sixth of the time where rows have
// some 30 records.
void add_by_length(const uint64_t* entries, int64_t n, const Record* records, const std::vector<RowPlace>& met,
                   int64_t* accumulator) {
  uint64_t visits[kRowsAtOnce];   // start of the row << 16 | code
  uint16_t lengths[kRowsAtOnce];  // 0 where nothing is left to be done
  uint16_t ends[kLongRow] = {};   // how many rows are no longer than that
  int64_t longest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const RowPlace row = met[entries[i] >> 16];
    const bool is_long = row.length() >= kLongRow;
    if (is_long) add_row(records + row.start(), row.length(), entries[i] & 0xFFFFu, accumulator);
    lengths[i] = is_long ? 0 : static_cast<uint16_t>(row.length());
    longest = std::max<int64_t>(longest, lengths[i]);
    ++ends[lengths[i]];
  }
  uint16_t next[kLongRow];
  for (int64_t length = 0, before = 0; length <= longest; ++length) {
    next[length] = static_cast<uint16_t>(before);
    before += ends[length];
    ends[length] = static_cast<uint16_t>(before);
  }
  for (int64_t i = 0; i < n; ++i) {
    visits[next[lengths[i]]++] = static_cast<uint64_t>(met[entries[i] >> 16].start()) << 16 | (entries[i] & 0xFFFFu);
  }
  int64_t i = ends[0];
  for (int64_t length = 1; length <= longest; ++length) {
    const int64_t lines = (length + kRecordsPerLine - 2) / kRecordsPerLine + 1;  // wherever in a line the row starts
    for (; i < ends[length]; ++i) {
      const Record* const ahead = records + (visits[std::min(i + kPrefetchRows, n - 1)] >> 16);
      for (int64_t line = 0; line < lines; ++line) __builtin_prefetch(ahead + line * kRecordsPerLine);
      add_row(records + (visits[i] >> 16), length, visits[i] & 0xFFFFu, accumulator);
    }
  }
}

}  // namespace

ScannedCsr scan(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
                const char* side) {
  ScannedCsr m;
  m.side = side;
  m.own_indptr = at::clone(indptr, at::MemoryFormat::Contiguous);
  m.n_tokens = m.own_indptr.numel() - 1;
  m.n_features = n_features;
  m.n_pieces = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), m.n_tokens));
  m.indptr = m.own_indptr.const_data_ptr<int64_t>();
  m.indices = indices.const_data_ptr<int32_t>();
  m.values = &values;
  m.max.resize(n_features);
  m.inverse_scale.resize(n_features);
  m.stored.assign(n_features, 0);
  m.active.assign(n_features, 0);
  m.stored_before.assign(m.n_pieces, std::vector<int64_t>(n_features));
  check_indptr(m.indptr, m.n_tokens, indices.numel(), side);
  with_values(values, [&](const auto* typed) { scan_values(m, typed); });
  return m;
}

ColumnOrder natural_order(int64_t n_features) {
  ColumnOrder order;
  order.feature.resize(n_features);
  std::iota(order.feature.begin(), order.feature.end(), 0);
  order.column = order.feature;
  return order;
}

ColumnOrder order_by_frequency(const ScannedCsr& b) {
  ColumnOrder order = natural_order(b.n_features);
  std::stable_sort(order.feature.begin(), order.feature.end(),
                   [&](int32_t f, int32_t g) { return b.stored[f] > b.stored[g]; });
  for (int64_t c = 0; c < b.n_features; ++c) order.column[order.feature[c]] = static_cast<int32_t>(c);
  return order;
}

RecordRows pack_block(const ScannedCsr& b, const ColumnOrder& order, int64_t first_column, int64_t n_columns,
                      Moments& moments) {
  RecordRows out{row_offsets(b, order, first_column, n_columns), {}};
  out.records = HugePageArray<Record>(out.offsets.back());
  std::vector<Slots> slots(b.n_pieces);
  with_values(*b.values, [&](const auto* values) {
    for_pieces(b.n_pieces, b.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
      slots[piece].resize(b.n_features);
      for (int64_t f = 0; f < b.n_features; ++f) {
        const int64_t column = order.column[f] - first_column;
        slots[piece][f].place = column < n_columns ? column : -1;  // negative when before the block
        slots[piece][f].inverse_scale = b.inverse_scale[f];
      }
      const Features features(b);
      Slot* const slot_of = slots[piece].data();
      for (int64_t token = begin; token < end; ++token) {
        Record* record = out.records.data() + out.offsets[token];
        Record* const row_end = out.records.data() + out.offsets[token + 1];
        for (int64_t i = b.indptr[token], stop = b.indptr[token + 1]; i < stop; ++i) {
          Slot& slot = slot_of[features[i]];
          if (slot.place < 0) continue;
          if (record == row_end) throw_changed(b.side);  // more of the block than row_offsets counted
          *record++ = {static_cast<uint16_t>(slot.place), slot.add(read_magnitude(values + i))};
        }
        std::fill(record, row_end, Record{});  // fewer than were counted
      }
    });
  });
  for (int64_t c = 0; c < n_columns; ++c) set_moments(slots, order.feature[first_column + c], moments);
  return out;
}

Postings transpose(const ScannedCsr& a, Moments& moments) {
  Postings out;
  out.offsets.resize(a.n_features + 1);
  out.offsets[0] = 0;
  std::inclusive_scan(a.stored.begin(), a.stored.end(), out.offsets.begin() + 1);
  out.entries = HugePageArray<uint64_t>(out.offsets.back());
  const int64_t n_entries = out.offsets.back();
  std::vector<Slots> slots(a.n_pieces);
  with_values(*a.values, [&](const auto* values) {
    for_pieces(a.n_pieces, a.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
      slots[piece].resize(a.n_features);
      for (int64_t f = 0; f < a.n_features; ++f) {
        slots[piece][f].place = out.offsets[f] + a.stored_before[piece][f];
        slots[piece][f].inverse_scale = a.inverse_scale[f];
      }
      const Features features(a);
      Slot* const slot_of = slots[piece].data();
      uint64_t* const entries = out.entries.data();
      for (int64_t token = begin; token < end; ++token) {
        for (int64_t i = a.indptr[token], stop = a.indptr[token + 1]; i < stop; ++i) {
          Slot& slot = slot_of[features[i]];
          if (slot.place >= n_entries) throw_changed(a.side);
          // Atomic, because a list that grew since the scan runs into the next, where another thread may be writing.
          __atomic_store_n(entries + slot.place++,
                           static_cast<uint64_t>(token) << 16 | slot.add(read_magnitude(values + i)), __ATOMIC_RELAXED);
        }
      }
    });
  });
  for (int64_t p = 0; p < a.n_pieces; ++p) {  // every list is as long as the scan found it, in every piece
    const std::vector<int64_t>& stored = p + 1 < a.n_pieces ? a.stored_before[p + 1] : a.stored;
    for (int64_t f = 0; f < a.n_features; ++f) {
      if (slots[p][f].place != out.offsets[f] + stored[f]) throw_changed(a.side);
    }
  }
  for (int64_t f = 0; f < a.n_features; ++f) set_moments(slots, f, moments);
  return out;
}

std::vector<RowPlace> RecordRows::places() const {
  std::vector<RowPlace> out;
  out.reserve(offsets.size() - 1);
  for (size_t t = 0; t + 1 < offsets.size(); ++t) out.emplace_back(offsets[t], offsets[t + 1] - offsets[t]);
  return out;
}

void accumulate(const Postings& a, int64_t begin, int64_t end, const RecordRows& b, const std::vector<RowPlace>& met,
                int64_t* accumulator) {
  const Record* const records = b.records.data();
  for (; begin < end; begin += kRowsAtOnce) {
    const uint64_t* const entries = a.entries.data() + begin;
    const int64_t n = std::min(kRowsAtOnce, end - begin);
    if (n >= kWorthOrdering) {
      add_by_length(entries, n, records, met, accumulator);
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      const RowPlace row = met[entries[i] >> 16];
      add_row(records + row.start(), row.length(), entries[i] & 0xFFFFu, accumulator);
    }
  }
}

void count_saturated(const ScannedCsr& m, int64_t* counts) {
  const auto fits = [&](int64_t f, double value) { return value * m.inverse_scale[f] <= kMaxCode; };
  bool all_fit = true;
  for (int64_t f = 0; f < m.n_features; ++f) all_fit = all_fit && fits(f, m.max[f]);
  if (all_fit) return;
  with_values(*m.values, [&](const auto* values) {
    const Features features(m);
    for (int64_t i = 0; i < m.indptr[m.n_tokens]; ++i) {
      const int32_t f = features[i];
      counts[f] += !fits(f, read_magnitude(values + i));
    }
  });
}

}  // namespace semconv
