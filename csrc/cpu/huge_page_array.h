// An uninitialised array on huge pages where the system grants them: random row access is bound by TLB misses
// otherwise.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace semconv {

template <typename T>
class HugePageArray {
 public:
  HugePageArray() = default;
  explicit HugePageArray(int64_t size) {
    constexpr std::size_t kHugePage = std::size_t{1} << 21;
    const std::size_t bytes = (static_cast<std::size_t>(size) * sizeof(T) + kHugePage) / kHugePage * kHugePage;
    data_.reset(static_cast<T*>(std::aligned_alloc(kHugePage, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(data_.get(), bytes, MADV_HUGEPAGE);  // a hint: failing costs speed only
#endif
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace semconv
