// Included before everything else where the thread sanitiser looks: at::parallel_for on threads of the C++ library. The
// sanitiser sees them start and end; what it cannot see are the barriers of OpenMP's own threads, whose library is not
// built for it, and without those every second access would look like a race.
#pragma once

#include <c10/macros/Macros.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#define INTRA_OP_PARALLEL  // as ATen/ParallelOpenMP.h, which does nothing without -fopenmp

namespace at {

TORCH_API int get_num_threads();

namespace internal {

template <typename F>
void invoke_parallel(int64_t begin, int64_t end, int64_t grain_size, const F& f) {
  const int64_t size = end - begin, grain = std::max<int64_t>(1, grain_size);
  const int64_t n_threads = std::min<int64_t>(at::get_num_threads(), (size + grain - 1) / grain);
  std::vector<std::exception_ptr> errors(n_threads);
  const auto run = [&](int64_t i) {
    try {
      f(begin + size * i / n_threads, begin + size * (i + 1) / n_threads);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < n_threads; ++i) threads.emplace_back(run, i);
  run(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace internal
}  // namespace at
