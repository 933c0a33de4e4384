// The host's side of the kernels that add up rows of S_ab: how the posting lists are cut for this device, and the
// queue.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "accumulate_kernels.h"
#include "device.h"
#include "packed_csr.h"

namespace semconv::cuda {

// The features of A by falling list length, and how their lists are cut.
struct RowWork {
  DeviceLimits limits;
  at::Tensor order;                 // int64 [F_a]
  int64_t n_columns;                // of one pass at most
  int64_t part_size;                // postings that one block adds in one go
  std::vector<int64_t> long_lists;  // lengths of the lists that are cut, falling

  // Copies a few list lengths to the host. k: partners kept per column, 0 for none.
  RowWork(const ScannedCsr& a, int64_t n_features_b, int64_t k);

  int64_t workers() const { return limits.multiprocessors; }
};

// One launch of a column block, ready for a kernel: keeps alive what the kernel reads.
struct QueuedLaunch {
  Accumulation accumulation;
  int64_t n_rows;  // features that several blocks share
  at::Tensor parts, next_item;
};

// All launches of one column block. variance_a: float64 [F_a], or undefined when every feature is wanted.
std::vector<QueuedLaunch> queue(const RowWork& work, const ScannedCsr& a, const PackedRows& rows,
                                const Postings& postings, const at::Tensor& variance_a, int64_t n_columns);

}  // namespace semconv::cuda
