#include "packed_csr.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "../checks.h"
#include "../quantize.h"

namespace semconv {
namespace {

// Splits [0, n) into one contiguous range per thread and runs body(piece, begin, end) on each.
template <typename Body>
void for_pieces(int64_t n_pieces, int64_t n, const Body& body) {
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) body(p, n * p / n_pieces, n * (p + 1) / n_pieces);
  });
}

int64_t piece_count(int64_t n) { return std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), n)); }

void check_indptr(const int64_t* indptr, int64_t n_tokens, int64_t nnz, const char* side) {
  TORCH_CHECK_VALUE(indptr[0] == 0, side, ".indptr must start at 0, got ", indptr[0]);
  for (int64_t t = 0; t < n_tokens; ++t) {
    TORCH_CHECK_VALUE(indptr[t] <= indptr[t + 1], side, ".indptr must not decrease, got ", indptr[t], " then ",
                      indptr[t + 1], " at token ", t);
  }
  TORCH_CHECK_VALUE(indptr[n_tokens] == nnz, side, ".indptr must end at nnz = ", nnz, ", got ", indptr[n_tokens]);
}

void check_row(const int32_t* indices, int64_t begin, int64_t end, int64_t n_features, int64_t token,
               const char* side) {
  int64_t previous = -1;
  for (int64_t i = begin; i < end; ++i) {
    TORCH_CHECK_VALUE(indices[i] >= 0 && indices[i] < n_features, side, ".indices must be in [0, ", n_features,
                      "), got ", indices[i], " at token ", token);
    TORCH_CHECK_VALUE(indices[i] > previous, side, ".indices must be strictly increasing per token, got ", previous,
                      " then ", indices[i], " at token ", token);
    previous = indices[i];
  }
}

template <typename T>
std::vector<double> feature_max(const QuantizedCsr& m, const T* values, const char* side) {
  const int64_t n_pieces = piece_count(m.n_tokens);
  std::vector<std::vector<float>> partial(n_pieces);
  for_pieces(n_pieces, m.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    auto& max = partial[piece];
    max.assign(m.n_features, 0.0f);
    for (int64_t token = begin; token < end; ++token) {
      check_row(m.indices, m.indptr[token], m.indptr[token + 1], m.n_features, token, side);
      for (int64_t i = m.indptr[token]; i < m.indptr[token + 1]; ++i) {
        const float v = static_cast<float>(values[i]);
        TORCH_CHECK_VALUE(v >= 0.0f && v <= std::numeric_limits<float>::max(), side,
                          ".values must be finite and >= 0, got ", v, " at token ", token);
        max[m.indices[i]] = std::max(max[m.indices[i]], v);
      }
    }
  });
  std::vector<double> max(m.n_features, 0.0);
  for (const auto& part : partial) {
    for (int64_t f = 0; f < m.n_features; ++f) max[f] = std::max(max[f], static_cast<double>(part[f]));
  }
  return max;
}

struct Sums {
  std::vector<int64_t> sum, sum_squares, active;
};

template <typename T>
Sums write_codes(QuantizedCsr& m, const T* values, const std::vector<double>& inverse_scale) {
  const int64_t n_pieces = piece_count(m.n_tokens);
  std::vector<Sums> partial(n_pieces);
  for_pieces(n_pieces, m.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    Sums& s = partial[piece];
    s.sum.assign(m.n_features, 0);
    s.sum_squares.assign(m.n_features, 0);
    s.active.assign(m.n_features, 0);
    for (int64_t i = m.indptr[begin]; i < m.indptr[end]; ++i) {
      const int32_t f = m.indices[i];
      const double v = static_cast<double>(static_cast<float>(values[i]));
      const uint16_t q = code_of(v, inverse_scale[f]);
      m.codes[i] = q;
      s.sum[f] += q;
      s.sum_squares[f] += static_cast<int64_t>(q) * q;
      s.active[f] += v > 0.0;
    }
  });
  Sums total = std::move(partial[0]);
  for (int64_t p = 1; p < n_pieces; ++p) {
    for (int64_t f = 0; f < m.n_features; ++f) {
      total.sum[f] += partial[p].sum[f];
      total.sum_squares[f] += partial[p].sum_squares[f];
      total.active[f] += partial[p].active[f];
    }
  }
  return total;
}

template <typename T>
void quantize_values(QuantizedCsr& m, const T* values, const char* side) {
  std::vector<double> inverse_scale = feature_max(m, values, side);
  for (double& s : inverse_scale) s = std::ldexp(1.0, -scale_exponent(s));
  const Sums sums = write_codes(m, values, inverse_scale);
  m.sum = sums.sum;
  m.variance.resize(m.n_features);
  m.noise.resize(m.n_features);
  for (int64_t f = 0; f < m.n_features; ++f) {
    m.variance[f] = static_cast<double>(scaled_variance(m.n_tokens, sums.sum[f], sums.sum_squares[f]));
    // step / (sqrt(12) rms), with the rms taken from the codes so that it is exact whatever the order.
    m.noise[f] =
        sums.active[f] == 0
            ? std::numeric_limits<double>::quiet_NaN()
            : std::sqrt(static_cast<double>(sums.active[f]) / (12.0 * static_cast<double>(sums.sum_squares[f])));
  }
}

}  // namespace

QuantizedCsr quantize(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features,
                      const char* side) {
  QuantizedCsr m;
  m.n_tokens = indptr.numel() - 1;
  m.n_features = n_features;
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
  const int64_t n_pieces = piece_count(a.n_tokens), n_features = a.n_features;
  // cursor[p][f]: first how many postings piece p has for f, then where it writes the next one.
  std::vector<std::vector<int64_t>> cursor(n_pieces);
  for_pieces(n_pieces, a.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    cursor[piece].assign(n_features, 0);
    for (int64_t i = a.indptr[begin]; i < a.indptr[end]; ++i) cursor[piece][a.indices[i]] += a.codes[i] > 0;
  });
  Postings out;
  out.offsets.resize(n_features + 1);
  int64_t position = 0;
  for (int64_t f = 0; f < n_features; ++f) {
    out.offsets[f] = position;
    for (auto& piece : cursor) {
      const int64_t count = piece[f];
      piece[f] = position;
      position += count;
    }
  }
  out.offsets[n_features] = position;
  out.tokens = HugePageArray<uint32_t>(position);
  out.codes = HugePageArray<uint16_t>(position);
  for_pieces(n_pieces, a.n_tokens, [&](int64_t piece, int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t i = a.indptr[token]; i < a.indptr[token + 1]; ++i) {
        if (a.codes[i] == 0) continue;
        const int64_t at = cursor[piece][a.indices[i]]++;
        out.tokens[at] = static_cast<uint32_t>(token);
        out.codes[at] = a.codes[i];
      }
    }
  });
  return out;
}

ColumnOrder order_columns(const QuantizedCsr& b) {
  std::vector<int64_t> count(b.n_features, 0);
  for (int64_t i = 0; i < b.indptr[b.n_tokens]; ++i) ++count[b.indices[i]];
  ColumnOrder order;
  order.feature.resize(b.n_features);
  order.column.resize(b.n_features);
  std::iota(order.feature.begin(), order.feature.end(), 0);
  std::stable_sort(order.feature.begin(), order.feature.end(),
                   [&](int32_t f, int32_t g) { return count[f] > count[g]; });
  for (int64_t c = 0; c < b.n_features; ++c) order.column[order.feature[c]] = static_cast<int32_t>(c);
  return order;
}

RecordRows pack_block(const QuantizedCsr& b, const ColumnOrder& order, int64_t first_column, int64_t n_columns) {
  const int64_t n_pieces = piece_count(b.n_tokens);
  // Calls visit(column within the block, code) for every entry of the range that belongs to the block.
  const auto for_entries = [&](int64_t begin, int64_t end, const auto& visit) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = order.column[b.indices[i]] - first_column;
      if (b.codes[i] > 0 && column >= 0 && column < n_columns) visit(static_cast<uint32_t>(column), b.codes[i]);
    }
  };
  RecordRows out;
  out.offsets.resize(b.n_tokens + 1);
  for_pieces(n_pieces, b.n_tokens, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      int64_t count = 0;
      for_entries(b.indptr[token], b.indptr[token + 1], [&](uint32_t, uint16_t) { ++count; });
      out.offsets[token + 1] = count;
    }
  });
  for (int64_t token = 0; token < b.n_tokens; ++token) out.offsets[token + 1] += out.offsets[token];
  out.records = HugePageArray<uint32_t>(out.offsets[b.n_tokens]);
  for_pieces(n_pieces, b.n_tokens, [&](int64_t, int64_t begin, int64_t end) {
    uint32_t* record = out.records.data() + out.offsets[begin];
    for_entries(b.indptr[begin], b.indptr[end],
                [&](uint32_t column, uint16_t code) { *record++ = column | static_cast<uint32_t>(code) << 16; });
  });
  return out;
}

}  // namespace semconv
