// Turns accumulator rows of S_ab into r and keeps the k best partners in both directions, one column block at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "../top_k.h"
#include "packed_csr.h"

namespace semconv {

// What r needs of the features of one side.
struct Statistics {
  int64_t n_tokens;
  std::vector<int64_t> sum;      // [F] S
  std::vector<double> variance;  // [F] n Q - S^2, 0 for a feature that never varies
  Statistics(int64_t n_tokens, const int64_t* sum, const int64_t* sum_squares, int64_t n_features);
};

// The two outputs of one direction, empty slots holding index -1 and r NaN.
struct BestTensors {
  at::Tensor index;  // int64 [..., F, k]
  at::Tensor r;      // float64 [..., F, k]
  BestTensors(at::Tensor index, at::Tensor r) : index(std::move(index)), r(std::move(r)) {}
  BestTensors(at::IntArrayRef shape, const at::TensorOptions& options);
  BestTensors select(int64_t shift) const { return {index[shift], r[shift]}; }
  TopK row(int64_t feature) const;
};

class BlockMatcher {
 public:
  // Columns [first, first + count) of `order`; every worker gets an accumulator row of zeros.
  BlockMatcher(const Statistics& a, const Statistics& b, const ColumnOrder& order, int64_t first, int64_t count,
               int64_t k, int64_t n_workers);

  int64_t* accumulator(int64_t worker) { return workers_[worker].accumulator.data(); }  // [count]

  int64_t padded() const { return static_cast<int64_t>(gain_.size()); }  // entries that an accumulator row has

  // Reads a row as the S_ab of one A-feature, offers every r to that feature's best and to the columns', and clears it.
  void finish(int64_t worker, int64_t feature, int64_t* accumulator, TopK row);
  void finish(int64_t worker, int64_t feature, TopK row) { finish(worker, feature, accumulator(worker), row); }

  // Offers what all workers found for the columns to the outputs of the B side.
  void join(const BestTensors& b_best) const;

 private:
  // One thread's accumulator row and its own best A-features for every column.
  struct Worker {
    std::vector<int64_t> accumulator;  // [padded]
    std::vector<float> threshold;      // [padded] what a column's newcomer must reach
    std::vector<int64_t> index;        // [count, k]
    std::vector<double> r;             // [count, k]
    Worker(int64_t padded, int64_t count, int64_t k);
  };

  const Statistics& a_;
  const Statistics& b_;
  const ColumnOrder& order_;
  int64_t first_, count_, k_;
  // Of every column's ColumnBound, padded to whole groups with columns that never match.
  std::vector<float> gain_;   // [padded] NaN for a feature that never varies
  std::vector<float> drift_;  // [padded]
  std::vector<Worker> workers_;
};

}  // namespace semconv
