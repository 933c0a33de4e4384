// Runs the CUDA kernels and their drivers on the host: the same code, with blocks on host threads and the threads of a
// block one after the other, phase by phase, in an order that changes from phase to phase. What depends on that order,
// reads shared memory that nobody wrote, or writes past it, shows.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "../../csrc/best_matches.h"
#include "../../csrc/compact_rows.h"
#include "../../csrc/cross_moments.h"
#include "../../csrc/cuda/ceilings_kernels.h"
#include "../../csrc/cuda/compact_rows_kernels.h"
#include "../../csrc/cuda/cross_moments_kernels.h"
#include "../../csrc/cuda/device.h"
#include "../../csrc/cuda/launch.h"
#include "../../csrc/cuda/match_row_kernels.h"
#include "../../csrc/cuda/naive_kernels.h"
#include "../../csrc/cuda/pearson_kernels.h"
#include "../../csrc/cuda/permutation_kernels.h"
#include "../../csrc/cuda/permuted_dot_kernels.h"
#include "../../csrc/device_ceilings.h"
#include "../../csrc/naive_cross_moments.h"
#include "../../csrc/pearson.h"
#include "../../csrc/permuted_dot.h"

namespace semconv::cuda {
namespace {

constexpr int kHostThreads = 4;
constexpr char kPoison = static_cast<char>(0xA5);
constexpr int64_t kCanaryBytes = 64;

DeviceLimits limits{3, 4096, 64, int64_t{1} << 20};
std::atomic<int64_t> overruns{0};

template <typename Body>
void on_host_threads(int64_t n, const Body& body) {
  std::atomic<int64_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kHostThreads; ++i) {
    threads.emplace_back([&] {
      for (int64_t item = next++; item < n; item = next++) body(item);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class HostBlock {
 public:
  HostBlock(int64_t index, int n_threads, int64_t shared_bytes)
      : index_(index), n_threads_(n_threads), memory_((shared_bytes + kCanaryBytes) / 16 + 1) {
    bytes_ = reinterpret_cast<char*>(memory_.data());
    end_ = bytes_ + shared_bytes;
    std::fill(bytes_, end_ + kCanaryBytes, kPoison);
  }
  ~HostBlock() {
    if (!std::all_of(end_, end_ + kCanaryBytes, [](char c) { return c == kPoison; })) ++overruns;
  }

  int64_t index() const { return index_; }
  int n_threads() const { return n_threads_; }
  char* shared() { return bytes_; }
  template <typename Phase>
  void threads(const Phase& phase) {
    // An odd factor visits every thread once, because their number is a power of two.
    const int factor = 2 * (turn_ % 61) + 1, shift = turn_ * 7;
    ++turn_;
    for (int t = 0; t < n_threads_; ++t) phase((t * factor + shift) & (n_threads_ - 1));
  }

 private:
  struct alignas(16) Chunk {
    char bytes[16];
  };
  int64_t index_;
  int n_threads_;
  int turn_ = 0;
  std::vector<Chunk> memory_;
  char* bytes_;
  char* end_;
};

}  // namespace

template <typename F>
void launch_each(const F& f, int64_t n) {
  constexpr int64_t kPiece = 256;
  on_host_threads((n + kPiece - 1) / kPiece, [&](int64_t piece) {
    const int64_t end = std::min(n, (piece + 1) * kPiece);
    for (int64_t i = end - 1; i >= piece * kPiece; --i) f(i);
  });
}

template <typename Kernel>
void launch_blocks(const Kernel& kernel, Grid grid) {
  TORCH_CHECK((grid.threads & (grid.threads - 1)) == 0, "the emulator needs a power of two, got ", grid.threads);
  on_host_threads(grid.blocks, [&](int64_t index) {
    HostBlock block(index, static_cast<int>(grid.threads), grid.shared_bytes);
    kernel(block);
  });
  TORCH_CHECK(overruns == 0, "a kernel wrote past its shared memory");
}

template void launch_each(const AddProducts&, int64_t);
template void launch_each(const AddSums&, int64_t);
template void launch_each(const CheckIndptr&, int64_t);
template void launch_each(const CheckPermutations&, int64_t);
template void launch_each(const CheckSums&, int64_t);
template void launch_each(const CheckThreshold&, int64_t);
template void launch_each(const Correlate&, int64_t);
template void launch_each(const CountQuads&, int64_t);
template void launch_each(const CountSaturated&, int64_t);
template void launch_each(const EncodeEntries&, int64_t);
template void launch_each(const JoinWorkers&, int64_t);
template void launch_each(const LearnScales&, int64_t);
template void launch_each(const Noise<uint32_t>&, int64_t);
template void launch_each(const Noise<int64_t>&, int64_t);
template void launch_each(const PackRows&, int64_t);
template void launch_each(const ScanEntries&, int64_t);
template void launch_each(const ScatterPostings&, int64_t);
template void launch_each(const SetScales&, int64_t);
template void launch_each(const Statistics&, int64_t);
template void launch_each(const SumRows&, int64_t);
template void launch_blocks(const CrossMomentsKernel&, Grid);
template void launch_blocks(const FillEntries&, Grid);
template void launch_blocks(const GatherRows&, Grid);
template void launch_blocks(const MarkEntries&, Grid);
template void launch_blocks(const MatchKernel&, Grid);
template void launch_blocks(const MatchSumsKernel&, Grid);
template void launch_blocks(const PermutedRows&, Grid);
template void launch_blocks(const SharedAdds&, Grid);

struct DeviceScope::Guard {};
DeviceScope::DeviceScope(const at::Tensor&) {}
DeviceScope::~DeviceScope() = default;
DeviceLimits device_limits() { return limits; }
void* current_stream() { return nullptr; }

namespace {

void set_limits(int64_t multiprocessors, int64_t shared_bytes, int64_t threads, int64_t scratch_bytes) {
  limits = {multiprocessors, shared_bytes, threads, scratch_bytes};
}

// Rows: launch, position, first posting, shared row, parts of the feature; whole lists as (launch, position, 0, -1, 1).
at::Tensor plan_rows(at::IntArrayRef long_lists, int64_t n_features, int64_t part_size, int64_t most_rows) {
  std::vector<int64_t> rows;
  const std::vector<Launch> launches = plan(long_lists.vec(), n_features, part_size, most_rows);
  for (size_t i = 0; i < launches.size(); ++i) {
    const auto launch = static_cast<int64_t>(i);
    for (const Part& p : launches[i].parts) rows.insert(rows.end(), {launch, p.position, p.first, p.row, p.n_parts});
    for (int64_t whole = 0; whole < launches[i].n_whole; ++whole) {
      rows.insert(rows.end(), {launch, launches[i].first_whole + whole, 0, -1, 1});
    }
  }
  return at::tensor(rows, at::kLong).view({-1, 5});
}

double to_double_of(int64_t high, int64_t low) {
  return to_double(static_cast<int128>(high) << 64 | static_cast<uint64_t>(low));
}

at::Tensor halves_of(const at::Tensor& x) {  // float32 -> bits of float16
  at::Tensor out = at::empty(x.sizes(), x.options().dtype(at::kShort));
  for (int64_t i = 0; i < x.numel(); ++i) {
    out.mutable_data_ptr<int16_t>()[i] = static_cast<int16_t>(half_of_float(x.const_data_ptr<float>()[i]));
  }
  return out;
}

at::Tensor floats_of(const at::Tensor& bits) {  // bits of float16 -> float32
  at::Tensor out = at::empty(bits.sizes(), bits.options().dtype(at::kFloat));
  for (int64_t i = 0; i < bits.numel(); ++i) {
    out.mutable_data_ptr<float>()[i] = float_of_half(static_cast<uint16_t>(bits.const_data_ptr<int16_t>()[i]));
  }
  return out;
}

}  // namespace
}  // namespace semconv::cuda

TORCH_LIBRARY(semconv_emulated, m) {
  m.def("compact_rows", &semconv::compact_rows_cuda);
  m.def("best_matches", &semconv::best_matches_cuda);
  m.def("best_matches_permuted", &semconv::best_matches_permuted_cuda);
  m.def(
      "best_matches_shifted(Tensor a, Tensor b, Tensor c, int d, Tensor e, Tensor f, Tensor g, int h, int[] shifts, "
      "int k)"
      " -> (Tensor, Tensor, Tensor, Tensor)",
      &semconv::best_matches_shifted_cuda);
  m.def("cross_moments_", &semconv::cross_moments_cuda_);
  m.def("correlation_from_moments", &semconv::correlation_from_moments_cuda);
  m.def("best_from_moments", &semconv::best_from_moments_cuda);
  m.def("permuted_dot", &semconv::permuted_dot_cuda);
  m.def("naive_cross_moments_", &semconv::naive_cross_moments_cuda_);
  m.def("shared_adds", &semconv::shared_adds_cuda);
  m.def("gather_rows", &semconv::gather_rows_cuda);
  m.def("set_limits", &semconv::cuda::set_limits);
  m.def("plan_rows(int[] long_lists, int n_features, int part_size, int most_rows) -> Tensor",
        &semconv::cuda::plan_rows);
  m.def("columns_per_pass", [](int64_t n_features, int64_t k) {
    return semconv::cuda::columns_per_pass(n_features, semconv::cuda::device_limits(), k);
  });
  m.def("lanes_per_posting", &semconv::cuda::lanes_per_posting);
  m.def("part_postings", &semconv::cuda::part_postings);
  m.def("to_double", &semconv::cuda::to_double_of);
  m.def("halves_of", &semconv::cuda::halves_of);
  m.def("floats_of", &semconv::cuda::floats_of);
}
