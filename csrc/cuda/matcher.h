// The host's side of match_row: the workers' tables, the statistics of both sides, and the outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "match_row_kernels.h"

namespace semconv::cuda {

// What finishing needs of the features of one side, on the device.
struct SideStatistics {
  at::Tensor sum, sum_squares;  // int64 [F]
  at::Tensor variance;          // float64 [F]
  at::Tensor gain, drift;       // float32 [F], of the column side only

  SideStatistics(const at::Tensor& sum, const at::Tensor& sum_squares, int64_t n_tokens, bool columns);
};

// Noise float64 [F]; active: int32 or int64 [F].
at::Tensor noise_of(const at::Tensor& active, const at::Tensor& sum_squares);

// The two outputs of one direction, empty slots holding index -1 and r NaN.
struct BestTensors {
  at::Tensor index;  // int64 [..., F, k]
  at::Tensor r;      // float64 [..., F, k]
  BestTensors(at::Tensor index, at::Tensor r) : index(std::move(index)), r(std::move(r)) {}
  BestTensors(at::IntArrayRef shape, const at::TensorOptions& options);
  BestTensors select(int64_t shift) const { return {index[shift], r[shift]}; }
};

// The tables that the workers of one pass write.
class Matcher {
 public:
  // Columns [first, first + n_columns).
  Matcher(const SideStatistics& a, const SideStatistics& b, int64_t n_tokens, int64_t first, int64_t n_columns,
          int64_t k, int64_t workers, const BestTensors& a_best);

  const Matching& matching() const { return matching_; }

  // Offers what all workers found for the columns to the outputs of the B side.
  void join(const BestTensors& b_best) const;

 private:
  int64_t workers_;
  BestTensors columns_;                                         // [workers * n_columns, k]
  at::Tensor reach_, candidate_, candidate_sum_, candidate_r_;  // [workers, n_columns]
  Matching matching_;
};

}  // namespace semconv::cuda
