// An uninitialised array on huge pages where the system grants them: random row access is bound by TLB misses
// otherwise.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, size)
#define ASAN_UNPOISON_MEMORY_REGION(begin, size)
#endif

namespace semconv {

// Mapped afresh: memory that malloc hands out again has its small pages already, and no hint makes them huge.
template <typename T>
class HugePageArray {
 public:
  HugePageArray() = default;
  explicit HugePageArray(int64_t size) {
    constexpr std::size_t kHugePage = std::size_t{1} << 21;
    // One page more than needed, so that a huge page boundary lies in the first.
    const std::size_t needed = (static_cast<std::size_t>(size) * sizeof(T) + kHugePage) / kHugePage * kHugePage;
    bytes_ = needed + kHugePage;
    mapping_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) {
      mapping_ = nullptr;
      throw std::bad_alloc();
    }
    const auto address = reinterpret_cast<std::uintptr_t>(mapping_);
    data_ = reinterpret_cast<T*>((address + kHugePage - 1) / kHugePage * kHugePage);
#ifdef MADV_HUGEPAGE
    madvise(data_, needed, MADV_HUGEPAGE);  // a hint: failing costs speed only
#endif
    // The address sanitiser knows where memory of malloc ends, but not that the rest of a page is none of ours.
    [[maybe_unused]] const std::size_t used = static_cast<std::size_t>(size) * sizeof(T);
    ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(data_) + used, needed - used);
  }
  HugePageArray(HugePageArray&& other) noexcept { swap(other); }
  HugePageArray& operator=(HugePageArray&& other) noexcept {
    swap(other);
    return *this;
  }
  ~HugePageArray() {
    if (mapping_ == nullptr) return;
    ASAN_UNPOISON_MEMORY_REGION(mapping_, bytes_);
    munmap(mapping_, bytes_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  void swap(HugePageArray& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
  }

  void* mapping_ = nullptr;
  std::size_t bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace semconv
