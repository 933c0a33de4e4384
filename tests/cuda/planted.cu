// One error per tool of compute-sanitizer: scripts/gpu_check.sh must see each caught, or the tools prove nothing.
#include <cstdio>
#include <cstring>

__global__ void write_past_end(int* values) { values[threadIdx.x] = 1; }

__global__ void race(int* out) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = shared[63 - threadIdx.x];  // no barrier in between
}

__global__ void read_unwritten(const int* values, int* out) { out[threadIdx.x] = values[threadIdx.x] + 1; }

__global__ void barrier_in_a_branch(int* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = 1;
}

int main(int argc, char** argv) {
  const char* kind = argc > 1 ? argv[1] : "";
  int *in = nullptr, *out = nullptr;
  cudaMalloc(&in, 32 * sizeof(int));
  cudaMalloc(&out, 64 * sizeof(int));
  if (std::strcmp(kind, "memcheck") == 0) write_past_end<<<1, 64>>>(in);
  if (std::strcmp(kind, "racecheck") == 0) race<<<1, 64>>>(out);
  if (std::strcmp(kind, "initcheck") == 0) read_unwritten<<<1, 32>>>(in, out);
  if (std::strcmp(kind, "synccheck") == 0) barrier_in_a_branch<<<1, 32>>>(out);
  const cudaError_t error = cudaDeviceSynchronize();
  std::printf("planted %s: %s\n", kind, cudaGetErrorString(error));
  return 0;
}
