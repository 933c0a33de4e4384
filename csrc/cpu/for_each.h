// Hands out items of uneven cost one at a time to the threads; no result may depend on who got which.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "../interrupt.h"

namespace semconv {

// How many workers for_each runs for that many items.
inline int64_t n_workers(int64_t n_items) {
  return std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), n_items));
}

// Calls body(worker, item) for every item below n_items; workers are numbered below n_workers(n_items) and each runs on
// one thread. Stops early when the interrupt check throws, unless that would leave a state half changed.
template <typename Body>
void for_each(int64_t n_items, const Body& body, bool interruptible = true) {
  const int64_t workers = n_workers(n_items);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t worker = lo; worker < hi; ++worker) {
      InterruptPoll poll;
      for (int64_t item = next++; item < n_items; item = next++) {
        if (interruptible && worker == 0) {  // the thread that entered
          try {
            poll();
          } catch (...) {
            next = n_items;  // nothing left for the others
            throw;
          }
        }
        body(worker, item);
      }
    }
  });
}

}  // namespace semconv
