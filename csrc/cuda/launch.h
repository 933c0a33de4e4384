// How kernels are launched: by type, so that the drivers (*.cpp) see neither CUDA syntax nor which device runs them.
#pragma once

#include <cstdint>

namespace semconv::cuda {

// The stream that PyTorch uses for the current device, a cudaStream_t.
void* current_stream();

// Calls f(i) for every i below n, each on a thread of its own, on the current stream.
template <typename F>
void launch_each(const F& f, int64_t n);

struct Grid {
  int64_t blocks;
  int64_t threads;       // per block
  int64_t shared_bytes;  // per block
};

// Calls kernel(block) on every block of the grid, on the current stream.
template <typename Kernel>
void launch_blocks(const Kernel& kernel, Grid grid);

}  // namespace semconv::cuda
