// How a kernel is written once for the device and for the host: a block is phases, each run by all of its threads, with
// a barrier after each. What lives longer than a phase stands in shared memory. On the device a Block is the thread
// block itself (launch.cuh); the tests run the same code with loops (tests/cuda/emulator.cpp).
#pragma once

#include <cstdint>

#include "../host_device.h"

#ifndef __CUDA_ARCH__
#include <atomic>
#endif

// Stands before a template that calls into its Block, which on the device has device-only members.
#ifdef __CUDACC__
#define SEMCONV_PHASES _Pragma("nv_exec_check_disable")
#else
#define SEMCONV_PHASES
#endif

namespace semconv::cuda {

inline constexpr int64_t kNoError = INT64_MAX;  // stands where the first wrong place is noted, until there is one

// Atomic adds return what was there. 32 bits are what shared memory adds natively (ATOMS.ADD); 64 bits are for global
// memory, where they are native too.
SEMCONV_HD inline uint32_t fetch_add(uint32_t* p, uint32_t v) {
#ifdef __CUDA_ARCH__
  return atomicAdd(p, v);
#else
  return std::atomic_ref<uint32_t>(*p).fetch_add(v);
#endif
}

SEMCONV_HD inline int64_t fetch_add(int64_t* p, int64_t v) {
#ifdef __CUDA_ARCH__
  return static_cast<int64_t>(atomicAdd(reinterpret_cast<unsigned long long*>(p), static_cast<unsigned long long>(v)));
#else
  return std::atomic_ref<int64_t>(*p).fetch_add(v);
#endif
}

// Raises *p to v; most callers find it high enough already, and a plain read is cheap.
SEMCONV_HD inline void raise_to(uint32_t* p, uint32_t v) {
#ifdef __CUDA_ARCH__
  if (*static_cast<volatile uint32_t*>(p) < v) atomicMax(p, v);
#else
  std::atomic_ref<uint32_t> atom(*p);
  for (uint32_t seen = atom; seen < v && !atom.compare_exchange_weak(seen, v);) {
  }
#endif
}

SEMCONV_HD inline void lower_to(int64_t* p, int64_t v) {
#ifdef __CUDA_ARCH__
  atomicMin(reinterpret_cast<long long*>(p), static_cast<long long>(v));
#else
  std::atomic_ref<int64_t> atom(*p);
  for (int64_t seen = atom; v < seen && !atom.compare_exchange_weak(seen, v);) {
  }
#endif
}

// Orders this thread's writes to global memory before what it tells other blocks next.
SEMCONV_HD inline void fence() {
#ifdef __CUDA_ARCH__
  __threadfence();
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Reads what other blocks of the same launch may have added: not from this multiprocessor's own cache.
SEMCONV_HD inline int64_t read_shared_by_blocks(const int64_t* p) {
#ifdef __CUDA_ARCH__
  return static_cast<int64_t>(__ldcg(reinterpret_cast<const long long*>(p)));
#else
  return std::atomic_ref<int64_t>(*const_cast<int64_t*>(p)).load();
#endif
}

}  // namespace semconv::cuda
