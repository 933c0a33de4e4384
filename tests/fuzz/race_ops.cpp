// Calls every op while another thread writes to what it reads. Each call must end in a result or in the one sentence of
// a refusal; a refused stream keeps its state; and once nobody writes, the bits are those from before. Built and run
// under the sanitisers by scripts/checks/sanitize.sh, which see reads and writes outside, and data races of the ops'
// own.
//
//   race_ops SECONDS [SEED]
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/best_matches.h"
#include "../../csrc/compact_rows.h"
#include "../../csrc/cross_moments.h"
#include "../../csrc/pearson.h"
#include "../../csrc/permuted_dot.h"

namespace {

using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;
using Tensors = std::vector<at::Tensor>;

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "race_ops: %s\n", what.c_str());
  std::abort();
}

// Memory that the writer changes, in words of 2, 4 or 8 bytes. Every write is a relaxed atomic one, so that a report of
// the thread sanitiser means that the op's read is not.
class Target {
 public:
  explicit Target(const at::Tensor& t)
      : width_(t.element_size()), n_(t.numel()), words_(static_cast<char*>(t.mutable_data_ptr())), tensor_(t) {
    for (int64_t i = 0; i < n_; ++i) honest_.push_back(read(i));
  }

  // Writes to a few words what is next to their range, far outside or plausible.
  void spoil(Random& random) {
    for (uint64_t n = 1 + random() % 8; n > 0; --n) {
      const int64_t i = static_cast<int64_t>(random() % n_);
      const int64_t other = honest_[random() % n_];
      const int64_t words[] = {other,     other,     honest_.back() + 1,
                               -1,        INT64_MAX, INT64_MIN,
                               INT32_MAX, INT32_MIN, static_cast<int64_t>(random())};
      write(i, words[random() % std::size(words)]);
    }
  }
  void restore() {
    for (int64_t i = 0; i < n_; ++i) write(i, honest_[i]);
  }

 private:
  template <typename T>
  T* word(int64_t i) const {
    return reinterpret_cast<T*>(words_) + i;
  }
  int64_t read(int64_t i) const {
    return width_ == 8 ? *word<int64_t>(i) : width_ == 4 ? *word<int32_t>(i) : *word<int16_t>(i);
  }
  void write(int64_t i, int64_t value) {
    if (width_ == 8) {
      __atomic_store_n(word<int64_t>(i), value, __ATOMIC_RELAXED);
    } else if (width_ == 4) {
      __atomic_store_n(word<int32_t>(i), static_cast<int32_t>(value), __ATOMIC_RELAXED);
    } else {
      __atomic_store_n(word<int16_t>(i), static_cast<int16_t>(value), __ATOMIC_RELAXED);
    }
  }

  int64_t width_, n_;
  char* words_;
  at::Tensor tensor_;  // keeps the memory
  std::vector<int64_t> honest_;
};

// Spoils and restores until it is told to stop, at moments that are now inside a pass of the op, now between two.
void write_until(const std::atomic<bool>& stop, std::vector<Target>& targets, int64_t call_ns, uint64_t seed) {
  Random random(seed);
  const auto wait = [&](int64_t most_ns) {
    const auto until = Clock::now() + std::chrono::nanoseconds(random() % (most_ns + 1));
    while (Clock::now() < until && !stop.load(std::memory_order_relaxed)) std::this_thread::yield();
  };
  while (!stop.load(std::memory_order_relaxed)) {
    Target& target = targets[random() % targets.size()];
    wait(2 * call_ns);  // for a call to get past its checks
    target.spoil(random);
    wait(call_ns / 4);
    target.restore();
  }
}

bool same_bits(const Tensors& x, const Tensors& y) {
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i].sizes() != y[i].sizes()) return false;
    if (x[i].numel() > 0 && std::memcmp(x[i].const_data_ptr(), y[i].const_data_ptr(), x[i].nbytes()) != 0) return false;
  }
  return true;
}

struct Case {
  std::string name;
  std::function<Tensors()> call;
  Tensors raced;
  bool rereads;  // whether what is read more than once decides a place: then some call must say that it changed
};

void run(const Case& it, double seconds, uint64_t seed) {
  const auto began = Clock::now();
  const Tensors expected = it.call();
  const int64_t call_ns = std::chrono::nanoseconds(Clock::now() - began).count();
  std::vector<Target> targets(it.raced.begin(), it.raced.end());
  std::atomic<bool> stop{false};
  std::thread writer([&] { write_until(stop, targets, call_ns, seed); });
  int64_t same = 0, other = 0, changed = 0, refused = 0;
  while (Clock::now() - began < std::chrono::duration<double>(seconds) ||
         (it.rereads && changed == 0 && Clock::now() - began < std::chrono::duration<double>(10 * seconds))) {
    try {
      ++(same_bits(it.call(), expected) ? same : other);
    } catch (const c10::ValueError& error) {
      const std::string said = error.what_without_backtrace();
      require(!said.empty() && said.find('\n') == std::string::npos, it.name + " refused with no sentence: " + said);
      ++(said.find("changed while they were being read") != std::string::npos ? changed : refused);
    }
  }
  stop = true;
  writer.join();
  require(same_bits(it.call(), expected), it.name + " gave other bits after the writer had stopped");
  std::printf("%-22s results as before %6lld, others %6lld; refused at the check %6lld, as changed %5lld\n",
              it.name.c_str(), static_cast<long long>(same), static_cast<long long>(other),
              static_cast<long long>(refused), static_cast<long long>(changed));
  require(same + other > 0, it.name + " never gave a result");
  require(changed + refused + other > 0, it.name + " never met the writer");
  require(!it.rereads || changed > 0, it.name + " never said that its input changed");
}

struct Side {
  at::Tensor indptr, indices, values;
  int64_t n_features;
};

Side make_side(Random& random, int64_t n_tokens, int64_t n_features, int64_t per_token, bool half) {
  std::vector<int64_t> indptr{0};
  std::vector<int64_t> indices;
  for (int64_t t = 0; t < n_tokens; ++t) {
    const int64_t stride = n_features / per_token;
    for (int64_t i = 0; i < per_token; ++i) {
      if (random() % 8 > 0) indices.push_back(i * stride + static_cast<int64_t>(random() % stride));
    }
    indptr.push_back(static_cast<int64_t>(indices.size()));
  }
  std::vector<double> values;
  for (size_t i = 0; i < indices.size(); ++i) values.push_back(static_cast<double>(random() % 60000 + 1) / 64);
  return {at::tensor(indptr, at::kLong), at::tensor(indices, at::kLong).to(at::kInt),
          at::tensor(values, at::kDouble).to(half ? at::kHalf : at::kFloat), n_features};
}

template <typename Tuple>
Tensors list(const Tuple& tuple) {
  return std::apply([](const auto&... t) { return Tensors{t...}; }, tuple);
}

Case matches_case(std::string name, const Side& a, const Side& b) {
  const auto call = [=] {
    return list(semconv::best_matches_cpu(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices, b.values,
                                          b.n_features, 2));
  };
  return {std::move(name), call, {a.indptr, a.indices, a.values, b.indptr, b.indices, b.values}, true};
}

Case shifted_case(const Side& a, const Side& b) {
  const auto call = [=] {
    return list(semconv::best_matches_shifted_cpu(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices,
                                                  b.values, b.n_features, {0, 3, 7}, 2));
  };
  return {"best_matches_shifted", call, {a.indptr, a.indices, a.values, b.indptr, b.indices, b.values}, true};
}

at::Tensor random_permutations(Random& random, int64_t m, int64_t n) {
  std::vector<int64_t> items;
  for (int64_t row = 0; row < m; ++row) {
    std::vector<int64_t> one(n);
    for (int64_t i = 0; i < n; ++i) one[i] = i;
    std::shuffle(one.begin(), one.end(), random);
    items.insert(items.end(), one.begin(), one.end());
  }
  return at::tensor(items, at::kLong).to(at::kInt).view({m, n});
}

Case permuted_case(const Side& a, const Side& b, const at::Tensor& permutations) {
  const auto call = [=] {
    return list(semconv::best_matches_permuted_cpu(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices,
                                                   b.values, b.n_features, permutations, 2));
  };
  return {"best_matches_permuted",
          call,
          {a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, permutations},
          true};
}

Case within_case(std::string name, const Side& a, const Side& b, const at::Tensor& groups) {
  const auto call = [=] {
    return list(semconv::best_matches_within_cpu(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices,
                                                 b.values, b.n_features, groups, 50, 2));
  };
  return {std::move(name), call, {a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, groups}, true};
}

// State of a stream that has seen smaller values, so that some of the next chunk saturate.
Tensors state_before(const Side& a, const Side& b) {
  Tensors state{at::zeros({a.n_features, b.n_features}, at::kLong),
                at::zeros({semconv::kFeatureSums, a.n_features}, at::kLong),
                at::zeros({semconv::kFeatureSums, b.n_features}, at::kLong)};
  for (const at::Tensor& sums : {state[1], state[2]}) sums[semconv::kScaleExponent].fill_(semconv::kNoScale);
  semconv::cross_moments_cpu_(state[0], state[1], state[2], a.indptr, a.indices, at::div(a.values, 2), b.indptr,
                              b.indices, at::div(b.values, 2), 0);
  return state;
}

Case stream_case(std::string name, const Side& a, const Side& b) {
  const Tensors before = state_before(a, b);
  const auto call = [=] {
    Tensors state;
    for (const at::Tensor& t : before) state.push_back(t.clone());
    try {
      semconv::cross_moments_cpu_(state[0], state[1], state[2], a.indptr, a.indices, a.values, b.indptr, b.indices,
                                  b.values, 2);
    } catch (const c10::ValueError&) {
      require(same_bits(state, before), "a refused chunk changed the state");
      throw;
    }
    return state;
  };
  return {std::move(name), call, {a.indptr, a.indices, a.values, b.indptr, b.indices, b.values}, true};
}

Case compact_case(std::string name, const at::Tensor& x, at::ScalarType dtype,
                  const std::optional<at::Tensor>& threshold) {
  Tensors raced{x};
  if (threshold.has_value()) raced.push_back(*threshold);
  return {std::move(name), [=] { return list(semconv::compact_rows_cpu(x, dtype, threshold)); }, raced, false};
}

std::vector<Case> all_cases(uint64_t seed) {
  Random random(seed);
  std::vector<Case> cases;
  const Side a = make_side(random, 400, 40, 10, true), b = make_side(random, 400, 60, 12, false);
  const Side wide = make_side(random, 400, 66'000, 12, true);  // two column blocks
  cases.push_back(matches_case("best_matches", a, b));
  cases.push_back(shifted_case(a, b));
  cases.push_back(permuted_case(a, b, random_permutations(random, 3, 400)));
  cases.push_back(matches_case("best_matches, wide", a, wide));
  const at::Tensor groups = at::remainder(random_permutations(random, 1, 400)[0], 50).contiguous();
  cases.push_back(within_case("best_matches_within", a, b, groups));
  cases.push_back(within_case("best_matches_within, wide", a, wide, groups));
  cases.push_back(stream_case("cross_moments_", a, b));
  cases.push_back(stream_case("cross_moments_, wide", a, wide));

  std::vector<double> dense(200 * 150);
  for (double& v : dense) v = random() % 10 == 0 ? static_cast<double>(random() % 1000) : 0.0;
  const at::Tensor x = at::tensor(dense, at::kDouble).view({200, 150}), threshold = at::full({150}, 5.0f, at::kFloat);
  cases.push_back(compact_case("compact_rows", x.to(at::kFloat), at::kHalf, std::nullopt));
  cases.push_back(compact_case("compact_rows, bf16", x.to(at::kBFloat16), at::kFloat, std::nullopt));
  cases.push_back(compact_case("compact_rows, over", x.to(at::kFloat), at::kFloat, threshold.clone()));
  cases.push_back(compact_case("compact_rows, f16 over", x.to(at::kHalf), at::kHalf, threshold.clone()));
  cases.push_back(compact_case("compact_rows, bf16 ov.", x.to(at::kBFloat16), at::kHalf, threshold));

  const int64_t n = 90, m = 40;
  const at::Tensor permutations = random_permutations(random, m, n);
  std::vector<double> square(n * n);
  for (double& v : square) v = static_cast<double>(random() % 100);
  const at::Tensor y = at::tensor(square, at::kDouble).view({n, n}), z = y.t().contiguous();
  cases.push_back({"permuted_dot",
                   [=] { return Tensors{semconv::permuted_dot_cpu(y, z, permutations)}; },
                   {y, z, permutations},
                   false});

  const Tensors state = state_before(a, b);
  const int64_t n_tokens = a.indptr.numel() - 1;
  cases.push_back(
      {"correlation_from_mom.",
       [=] { return Tensors{semconv::correlation_from_moments_cpu(state[0], state[1], state[2], n_tokens)}; }, state,
       false});
  cases.push_back({"best_from_moments",
                   [=] { return list(semconv::best_from_moments_cpu(state[0], state[1], state[2], n_tokens, 2)); },
                   state, false});
  return cases;
}

}  // namespace

int main(int argc, char** argv) {
  require(argc >= 2, "usage: race_ops SECONDS [SEED]");
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  at::set_num_threads(3);
  const std::vector<Case> cases = all_cases(seed);
  for (const Case& it : cases) run(it, std::atof(argv[1]) / static_cast<double>(cases.size()), seed);
  return 0;
}
