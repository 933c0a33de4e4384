// Marks functions that the CPU kernels, the CUDA kernels and the tests of the CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define SEMCONV_HD __host__ __device__
#else
#define SEMCONV_HD
#endif
