// best_matches after the mean of every group of tokens is taken off each feature. With x_g and y_g the sums of the
// codes of two features over group g, which are integers, and w_g = 1 / (tokens of g), one division a group,
//   covariance = S_ab - sum over g, ascending, of (x_g y_g) w_g,  variance = Q - sum over g, ascending, of (x_g x_g)
//   w_g,
// in float64, r = covariance / sqrt(variance_a variance_b). Every sum is taken by one thread in that order, so that the
// bits do not depend on threads.
#include <ATen/Parallel.h>
#include <ATen/ops/clone.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../best_matches.h"
#include "../checks.h"
#include "block_matcher.h"
#include "for_each.h"
#include "packed_csr.h"
#include "scanned_side.h"

namespace semconv {
namespace {

constexpr int64_t kEntriesAtOnce = int64_t{1} << 26;  // sums of a block of columns by group, 12 bytes each
constexpr double kConstant = 1e-12;                   // of Q: a smaller variance is rounding, the group says it all

// The groups, and the tokens of each.
struct Groups {
  std::vector<int32_t> of;       // [n_tokens]
  std::vector<int64_t> offsets;  // [n_groups + 1]
  std::vector<int64_t> tokens;   // [n_tokens] of the first group, of the second, ...; each ascending
  std::vector<double> weight;    // [n_groups] 1 / tokens of the group, 0 of a group without any
  Groups(const at::Tensor& groups, int64_t n_groups) : offsets(n_groups + 1, 0), weight(n_groups) {
    const at::Tensor copy = at::clone(groups, at::MemoryFormat::Contiguous);  // what is checked is what is read
    const auto* const first = copy.const_data_ptr<int32_t>();
    of.assign(first, first + copy.numel());
    for (const int32_t g : of) {
      TORCH_CHECK_VALUE(g >= 0 && g < n_groups, "groups must be in [0, ", n_groups, "), got ", g);
      ++offsets[g + 1];
    }
    for (int64_t g = 0; g < n_groups; ++g) {
      if (offsets[g + 1] > 0) weight[g] = 1.0 / static_cast<double>(offsets[g + 1]);
    }
    std::inclusive_scan(offsets.begin(), offsets.end(), offsets.begin());
    tokens.resize(of.size());
    std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
    for (int64_t t = 0; t < static_cast<int64_t>(of.size()); ++t) tokens[next[of[t]]++] = t;
  }
  int64_t size() const { return static_cast<int64_t>(weight.size()); }
};

// What is not zero of the sums of a group.
struct Sums {
  const int32_t* column = nullptr;
  const double* sum = nullptr;
  int64_t n = 0;
};

// Integers that are summed by place, and the places that were.
class Collected {
 public:
  explicit Collected(int64_t n_places) : sum_(n_places, 0) {}
  void add(int64_t place, int64_t value) {
    if (value == 0) return;
    if (sum_[place] == 0) places_.push_back(static_cast<int32_t>(place));
    sum_[place] += value;
  }
  // Calls body(place, sum) by rising place, and forgets all.
  template <typename Body>
  void take(const Body& body) {
    std::sort(places_.begin(), places_.end());
    for (const int32_t place : places_) {
      body(place, sum_[place]);
      sum_[place] = 0;
    }
    places_.clear();
  }

 private:
  std::vector<int64_t> sum_;
  std::vector<int32_t> places_;
};

// The sums of a block of columns by group.
class SumsByGroup {
 public:
  SumsByGroup(const Groups& groups, const RecordRows& rows, int64_t n_columns) : of_(groups.size()) {
    const int64_t n_pieces = std::min<int64_t>(at::get_num_threads(), groups.size());
    pieces_.resize(n_pieces);
    at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
      for (int64_t p = lo; p < hi; ++p) {
        fill(pieces_[p], groups, rows, n_columns, groups.size() * p / n_pieces, groups.size() * (p + 1) / n_pieces);
      }
    });
  }
  const Sums& operator[](int64_t group) const { return of_[group]; }
  int64_t size() const { return static_cast<int64_t>(of_.size()); }

 private:
  struct Piece {
    std::vector<int32_t> columns;
    std::vector<double> sums;
  };
  void fill(Piece& piece, const Groups& groups, const RecordRows& rows, int64_t n_columns, int64_t first,
            int64_t last) {
    Collected collected(n_columns);
    std::vector<int64_t> ends;
    for (int64_t g = first; g < last; ++g) {
      for (int64_t i = groups.offsets[g]; i < groups.offsets[g + 1]; ++i) {
        const int64_t token = groups.tokens[i];
        for (int64_t j = rows.offsets[token]; j < rows.offsets[token + 1]; ++j) {
          collected.add(rows.records[j].column, rows.records[j].code);
        }
      }
      collected.take([&](int32_t column, int64_t sum) {
        piece.columns.push_back(column);
        piece.sums.push_back(static_cast<double>(sum));
      });
      ends.push_back(static_cast<int64_t>(piece.columns.size()));
    }
    int64_t begin = 0;  // the pieces have stopped growing, so that places in them stay
    for (int64_t g = first; g < last; ++g) {
      const int64_t end = ends[g - first];
      of_[g] = {piece.columns.data() + begin, piece.sums.data() + begin, end - begin};
      begin = end;
    }
  }

  std::vector<Piece> pieces_;
  std::vector<Sums> of_;
};

// Zero where what is left within groups is rounding.
double within(double whole, double of_means) {
  const double variance = whole - of_means;
  return variance > kConstant * whole ? variance : 0.0;
}

// Of every column of a block, what varies within groups.
std::vector<double> column_variances(const Groups& groups, const SumsByGroup& sums, const ColumnOrder& order,
                                     const Moments& moments, int64_t first, int64_t count) {
  std::vector<double> variance(count, 0.0);
  for (int64_t g = 0; g < sums.size(); ++g) {
    const Sums& row = sums[g];
    for (int64_t i = 0; i < row.n; ++i) variance[row.column[i]] += (row.sum[i] * row.sum[i]) * groups.weight[g];
  }
  for (int64_t c = 0; c < count; ++c) {
    variance[c] = within(static_cast<double>(moments.sum_squares[order.feature[first + c]]), variance[c]);
  }
  return variance;
}

// One thread's rows of a feature of A, and its own best A-features for every column.
struct Worker {
  std::vector<int64_t> products;  // [count] S_ab
  std::vector<double> of_means;   // [count]
  Collected by_group;
  std::vector<int64_t> index;  // [count, k]
  std::vector<double> r;       // [count, k]
  Worker(int64_t count, int64_t n_groups, int64_t k)
      : products(count, 0),
        of_means(count, 0.0),
        by_group(n_groups),
        index(count * k, -1),
        r(count * k, std::nan("")) {}
};

// Sums the codes of a feature by group, and of every column what the means of groups have in common with it; returns
// what varies of the feature within groups.
double walk_groups(const Groups& groups, const SumsByGroup& sums, const Postings& postings, int32_t feature,
                   int64_t sum_squares, Worker& worker) {
  for (int64_t i = postings.offsets[feature]; i < postings.offsets[feature + 1]; ++i) {
    const uint64_t entry = postings.entries.data()[i];
    worker.by_group.add(groups.of[entry >> 16], static_cast<int64_t>(entry & 0xFFFFu));
  }
  std::fill(worker.of_means.begin(), worker.of_means.end(), 0.0);
  double of_means = 0.0;
  worker.by_group.take([&](int32_t g, int64_t sum) {
    const auto x = static_cast<double>(sum);
    const double weight = groups.weight[g];
    of_means += (x * x) * weight;
    const Sums& row = sums[g];
    for (int64_t i = 0; i < row.n; ++i) worker.of_means[row.column[i]] += (x * row.sum[i]) * weight;
  });
  return within(static_cast<double>(sum_squares), of_means);
}

void match_block(const ScannedSide& a, const Postings& postings, ScannedSide& b, const ColumnOrder& order,
                 int64_t first, int64_t count, int64_t k, const Groups& groups, const BestTensors& a_best,
                 const BestTensors& b_best) {
  const RecordRows rows = pack_block(b.csr, order, first, count, b.moments);
  const SumsByGroup sums(groups, rows, count);
  const std::vector<double> variance = column_variances(groups, sums, order, b.moments, first, count);
  const ColumnOrder hot_first = order_by_frequency(a.csr);
  const std::vector<RowPlace> places = rows.places();
  std::vector<Worker> workers(n_workers(a.csr.n_features), Worker(count, groups.size(), k));
  for_each(a.csr.n_features, [&](int64_t number, int64_t item) {
    Worker& worker = workers[number];
    const int32_t feature = hot_first.feature[item];
    const double of_feature = walk_groups(groups, sums, postings, feature, a.moments.sum_squares[feature], worker);
    if (!(of_feature > 0.0)) return;
    accumulate(postings, feature, rows, places, worker.products.data());
    TopK row = a_best.row(feature);
    for (int64_t c = 0; c < count; ++c) {
      if (!(variance[c] > 0.0)) continue;
      const double covariance = static_cast<double>(worker.products[c]) - worker.of_means[c];
      const double r = covariance / std::sqrt(of_feature * variance[c]);
      row.insert(order.feature[first + c], r);
      TopK best{worker.index.data() + c * k, worker.r.data() + c * k, k};
      best.insert(feature, r);
    }
    std::fill(worker.products.begin(), worker.products.end(), 0);
  });
  for (int64_t c = 0; c < count; ++c) {
    TopK best = b_best.row(order.feature[first + c]);
    for (const Worker& w : workers) {
      for (int64_t slot = c * k; slot < (c + 1) * k && w.index[slot] >= 0; ++slot)
        best.insert(w.index[slot], w.r[slot]);
    }
  }
}

// How many columns from `first` on are taken at once.
int64_t columns_at_once(const ScannedCsr& b, const ColumnOrder& order, int64_t first) {
  int64_t count = 0, entries = 0;
  while (first + count < b.n_features && count < kBlockColumns) {
    entries += b.stored[order.feature[first + count]];
    if (count > 0 && entries > kEntriesAtOnce) break;
    ++count;
  }
  return count;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_within_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& groups, int64_t n_groups, int64_t k) {
  check_match_inputs(a_indptr, a_indices, a_values, n_features_a, b_indptr, b_indices, b_values, n_features_b, k);
  check_groups_shape(groups, n_groups, a_indptr.numel() - 1);
  check_memory({a_indptr, groups});
  // Contiguous copies live until the end of the call, because ScannedCsr points into them.
  const at::Tensor ai = a_indices.contiguous(), av = a_values.contiguous();
  const at::Tensor bi = b_indices.contiguous(), bv = b_values.contiguous();
  ScannedSide a(a_indptr, ai, av, n_features_a, "a"), b(b_indptr, bi, bv, n_features_b, "b");
  const Groups of_tokens(groups, n_groups);
  const ColumnOrder order = order_by_frequency(b.csr);
  const at::TensorOptions options = a_indptr.options();
  const BestTensors a_best({n_features_a, k}, options), b_best({n_features_b, k}, options);
  const Postings postings = transpose(a.csr, a.moments);
  for (int64_t first = 0, count = 0; first < n_features_b; first += count) {
    count = columns_at_once(b.csr, order, first);
    match_block(a, postings, b, order, first, count, k, of_tokens, a_best, b_best);
  }
  return {a_best.index, a_best.r, b_best.index, b_best.r, a.noise(options), b.noise(options)};
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("best_matches_within", &best_matches_within_cpu); }

}  // namespace semconv
