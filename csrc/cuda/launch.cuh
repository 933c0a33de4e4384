// The device's side of launch.h; every *.cu includes it and instantiates the launchers of its own kernels.
#pragma once

#include <cuda_runtime.h>

#include <limits>
#include <stdexcept>
#include <string>

#include "block.h"
#include "launch.h"

namespace semconv::cuda {

inline void check_launch(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA refused to ") + what + ": " + cudaGetErrorString(error));
}

struct DeviceBlock {
  char* shared_memory;

  __device__ explicit DeviceBlock(char* shared_memory) : shared_memory(shared_memory) {}
  __device__ int64_t index() const { return blockIdx.x; }
  __device__ int n_threads() const { return static_cast<int>(blockDim.x); }
  __device__ char* shared() const { return shared_memory; }
  template <typename Phase>
  __device__ void threads(const Phase& phase) const {
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

inline constexpr int kEachThreads = 256;
inline constexpr int kEachBlocks = 4;  // on a multiprocessor at least; more would cost registers that are spilled

template <typename F>
__global__ void __launch_bounds__(kEachThreads, kEachBlocks) each_kernel(F f, int64_t n) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kEachThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kEachThreads + threadIdx.x; i < n; i += stride) f(i);
}

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kMaxThreads, Kernel::kBlocksPerMultiprocessor) block_kernel(Kernel kernel) {
  extern __shared__ __align__(16) char shared_memory[];
  DeviceBlock block(shared_memory);
  kernel(block);
}

template <typename F>
void launch_each(const F& f, int64_t n) {
  if (n == 0) return;
  const int64_t blocks = (n + kEachThreads - 1) / kEachThreads;
  const auto grid =
      static_cast<unsigned>(blocks < std::numeric_limits<int>::max() ? blocks : std::numeric_limits<int>::max());
  each_kernel<F><<<grid, kEachThreads, 0, static_cast<cudaStream_t>(current_stream())>>>(f, n);
  check_launch("launch a kernel");
}

template <typename Kernel>
void launch_blocks(const Kernel& kernel, Grid grid) {
  if (grid.blocks == 0) return;
  const auto shared_bytes = static_cast<int>(grid.shared_bytes);
  if (cudaFuncSetAttribute(block_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes) !=
      cudaSuccess) {
    check_launch("give a kernel its shared memory");
  }
  block_kernel<Kernel><<<static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.threads), shared_bytes,
                         static_cast<cudaStream_t>(current_stream())>>>(kernel);
  check_launch("launch a kernel");
}

}  // namespace semconv::cuda
