// What a GPU allows at most: the two rates that bound best_matches on it, each as one pass of a kernel with its own
// access pattern, which `semconv bench --device cuda` times. Both return what shows that the work was done.
#pragma once

#include <cstdint>
#include <tuple>

namespace at {
class Tensor;
}

namespace semconv {

// Adds one product after the other to a random column of two 32-bit limbs in shared memory, on every multiprocessor.
// like: any tensor on the device. n_features: of the B side; so many columns as best_matches takes in one pass.
// Returns the sums, int64 [multiprocessors, columns], kSharedAddsProduct for every add; and how many adds there were.
std::tuple<at::Tensor, int64_t> shared_adds_cuda(const at::Tensor& like, int64_t n_features);
inline constexpr int64_t kSharedAddsProduct = 0x10001;  // one in either limb

// Reads rows in the order given, a few threads to each as best_matches has them.
// rows: int32 [n_rows, 4 quads], picks: int32 [n] in [0, n_rows). Returns the sum of all words read, int64 [1].
at::Tensor gather_rows_cuda(const at::Tensor& rows, const at::Tensor& picks);

}  // namespace semconv
