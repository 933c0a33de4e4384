// Reads of memory that another thread may be writing to. Such a read gives some value; what must not happen is that the
// compiler reads again after the value was checked, and takes what is there then.
#pragma once

#include <cstdint>

namespace semconv {

// One load, into a copy that no other thread sees: a relaxed atomic one, which costs what a plain one does.
template <typename T>
inline T read_once(const T* p) {
  T value;
  __atomic_load(p, &value, __ATOMIC_RELAXED);
  return value;
}

// Marks a loop that reads whole vectors of such memory, which atomic loads would undo. Only for loops that use nothing
// they read as a place or a length. The thread sanitiser is told to leave their reads alone.
#define SEMCONV_READS_AS_IT_IS __attribute__((no_sanitize("thread")))

// As std::copy_n.
SEMCONV_READS_AS_IT_IS
inline void copy_as_it_is(const int64_t* from, int64_t n, int64_t* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

}  // namespace semconv
