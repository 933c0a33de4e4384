// Lets a long op stop when its caller asks (Ctrl-C): Python sets the check, the kernels call it now and then.
#pragma once

#include <atomic>
#include <chrono>

namespace semconv {

// Throws to stop; null while nobody asked to be able to. Only called on the thread that entered the op.
inline std::atomic<void (*)()> interrupt_check{nullptr};

// Calls the check at most ten times a second.
class InterruptPoll {
 public:
  void operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    if (const auto check = interrupt_check.load()) check();
  }

 private:
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now();
};

}  // namespace semconv
