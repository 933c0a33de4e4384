// Coverage-guided fuzzing of the op boundary (libFuzzer): any bytes become tensors that may break every rule, those of
// layout, device and memory included. An op, called as torch.ops does, must either refuse or agree with the plain sums
// below; anything else aborts. Built and run by scripts/checks/fuzz.sh.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <fuzzer/FuzzedDataProvider.h>
#include <utility>
#include <vector>

#include "../../csrc/cross_moments.h"
#include "../../csrc/quantize.h"

namespace {

using semconv::FeatureSum;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz_ops: %s\n", what);
  std::abort();
}

// One side as the op gets it, and the dense values when they are valid.
struct Side {
  at::Tensor indptr, indices, values;
  int64_t n_features;
};

float odd_value(FuzzedDataProvider& data) {
  switch (data.ConsumeIntegralInRange<int>(0, 15)) {
    case 0:
      return NAN;
    case 1:
      return INFINITY;
    case 2:
      return -1.0f;
    case 3:
      return -0.0f;
    case 4:
      return 65504.0f;
    case 5:
      return 1e-7f;
    case 6:
      return 3e38f;
    case 7:
      return 1e-45f;
    default:
      return static_cast<float>(data.ConsumeIntegral<uint16_t>()) / 64.0f;
  }
}

Side make_side(FuzzedDataProvider& data, int64_t n_tokens) {
  Side side;
  side.n_features = data.ConsumeIntegralInRange<int64_t>(0, 9);
  const bool honest = data.ConsumeIntegralInRange<int>(0, 7) > 0;  // most inputs should get past the checks
  std::vector<int64_t> indptr{honest ? 0 : data.ConsumeIntegralInRange<int64_t>(-2, 2)};
  std::vector<int32_t> indices;
  std::vector<float> values;
  for (int64_t token = 0; token < n_tokens; ++token) {
    for (int64_t f = 0; f < side.n_features; ++f) {
      if (!data.ConsumeBool()) continue;
      indices.push_back(static_cast<int32_t>(honest ? f : data.ConsumeIntegralInRange<int64_t>(-2, 10)));
      values.push_back(honest ? static_cast<float>(data.ConsumeIntegral<uint16_t>()) / 64.0f : odd_value(data));
    }
    indptr.push_back(static_cast<int64_t>(indices.size()) + (honest ? 0 : data.ConsumeIntegralInRange<int64_t>(-1, 1)));
  }
  side.indptr = at::tensor(indptr, at::kLong);
  side.indices = at::tensor(std::vector<int64_t>(indices.begin(), indices.end()), at::kLong).to(at::kInt);
  side.values = at::tensor(values, at::kFloat);
  if (data.ConsumeBool()) side.values = side.values.to(at::kHalf);
  if (!honest) {
    switch (data.ConsumeIntegralInRange<int>(0, 7)) {
      case 0:
        side.indptr = side.indptr.to(at::kInt);
        break;
      case 1:
        side.indices = side.indices.to(at::kLong);
        break;
      case 2:
        side.values = side.values.to(at::kDouble);
        break;
      case 3:
        side.values = side.values.unsqueeze(0);
        break;
      case 4:
        side.indptr = side.indptr.slice(0, 0, 1);
        break;
      case 5:
        side.n_features = data.ConsumeIntegralInRange<int64_t>(-1, int64_t{1} << 33);
        // A wide dictionary is allowed, but takes the time of a thousand other inputs; tests/core/test_ops.py has it.
        if (side.n_features > 300 && side.n_features < int64_t{1} << 31) side.n_features = 300;
        break;
      default:
        break;
    }
  }
  return side;
}

// Calls an op through the dispatcher; true when it returned. False when the op refused with ValueError, or there is no
// kernel for such tensors (sparse, without data). Everything else escapes to libFuzzer.
template <typename Call>
bool accepted(const Call& call) {
  try {
    call();
    return true;
  } catch (const c10::ValueError&) {
    return false;
  } catch (const c10::NotImplementedError&) {
    return false;
  }
}

template <typename Signature>
auto op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

using T = const at::Tensor&;
using Matches = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Csr = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
const auto& best_matches() {
  static const auto found = op<Matches(T, T, T, int64_t, T, T, T, int64_t, int64_t)>("semconv::best_matches");
  return found;
}
using Partners = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
const auto& best_matches_permuted() {
  static const auto found =
      op<Partners(T, T, T, int64_t, T, T, T, int64_t, T, int64_t)>("semconv::best_matches_permuted");
  return found;
}
const auto& best_matches_within() {
  static const auto found =
      op<Matches(T, T, T, int64_t, T, T, T, int64_t, T, int64_t, int64_t)>("semconv::best_matches_within");
  return found;
}
const auto& cross_moments() {
  static const auto found =
      op<void(at::Tensor, at::Tensor, at::Tensor, T, T, T, T, T, T, int64_t)>("semconv::cross_moments_");
  return found;
}
const auto& correlation_from_moments() {
  static const auto found = op<at::Tensor(T, T, T, int64_t)>("semconv::correlation_from_moments");
  return found;
}
const auto& best_from_moments() {
  static const auto found = op<Matches(T, T, T, int64_t, int64_t)>("semconv::best_from_moments");
  return found;
}
const auto& compact_rows() {
  static const auto found = op<Csr(T, at::ScalarType, const std::optional<at::Tensor>&)>("semconv::compact_rows");
  return found;
}
const auto& permuted_dot() {
  static const auto found = op<at::Tensor(T, T, T)>("semconv::permuted_dot");
  return found;
}

enum class Layout { kPlain, kStrided, kExpanded, kMeta, kSparse, kShort };

// The same values in another layout, or a tensor that no op may read. One in eight inputs has one.
Layout change_layout(FuzzedDataProvider& data, at::Tensor& t) {
  constexpr Layout kLayouts[] = {Layout::kStrided, Layout::kExpanded, Layout::kMeta, Layout::kSparse, Layout::kShort};
  const Layout layout = data.PickValueInArray(kLayouts);
  switch (layout) {
    case Layout::kStrided:  // every second entry of a wider one, with others between
      t = at::stack({t, at::zeros_like(t)}, t.dim()).select(t.dim(), 0);
      break;
    case Layout::kExpanded:  // one entry everywhere; of other values, if there is more than one
      if (t.numel() > 0) t = t.flatten()[0].expand(t.sizes());
      break;
    case Layout::kMeta:
      t = at::empty_like(t, t.options().device(at::kMeta));
      break;
    case Layout::kSparse:
      t = t.to_sparse();
      break;
    default:  // its storage was made smaller under it
      if (t.numel() == 0) return Layout::kPlain;
      t = t.clone();
      t.storage().unsafeGetStorageImpl()->set_nbytes(t.element_size() * (t.numel() - 1));
  }
  return layout;
}

// Whether no op may accept a tensor that was given this layout.
bool is_unreadable(Layout layout) {
  return layout == Layout::kMeta || layout == Layout::kSparse || layout == Layout::kShort;
}

Layout maybe_change_one(FuzzedDataProvider& data, std::initializer_list<at::Tensor*> tensors) {
  if (data.ConsumeIntegralInRange<int>(0, 7) > 0) return Layout::kPlain;
  const auto which = data.ConsumeIntegralInRange<size_t>(0, tensors.size() - 1);
  return change_layout(data, *tensors.begin()[which]);
}

// Dense codes [n_tokens][F] by the contract, from the definition and not from the kernels' tables.
std::vector<std::vector<int64_t>> codes_of(const Side& side) {
  const int64_t n = side.indptr.numel() - 1;
  std::vector<std::vector<double>> dense(n, std::vector<double>(side.n_features, 0.0));
  const at::Tensor indices = side.indices.to(at::kLong), values = side.values.to(at::kDouble);
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t i = side.indptr[t].item<int64_t>(); i < side.indptr[t + 1].item<int64_t>(); ++i) {
      dense[t][indices[i].item<int64_t>()] = values[i].item<double>();
    }
  }
  std::vector<std::vector<int64_t>> codes(n, std::vector<int64_t>(side.n_features, 0));
  for (int64_t f = 0; f < side.n_features; ++f) {
    double max = 0.0;
    for (int64_t t = 0; t < n; ++t) max = std::max(max, dense[t][f]);
    int e = -200;
    while (max > 0.0 && std::ldexp(max, -e) > 65535.0) ++e;
    for (int64_t t = 0; t < n && max > 0.0; ++t) {
      codes[t][f] = static_cast<int64_t>(std::nearbyint(std::ldexp(dense[t][f], -e)));
    }
  }
  return codes;
}

double plain_pearson(const std::vector<std::vector<int64_t>>& a, int64_t f, const std::vector<std::vector<int64_t>>& b,
                     int64_t g) {
  __int128 sa = 0, sb = 0, qa = 0, qb = 0, ab = 0;
  const auto n = static_cast<__int128>(a.size());
  for (size_t t = 0; t < a.size(); ++t) {
    sa += a[t][f];
    sb += b[t][g];
    qa += static_cast<__int128>(a[t][f]) * a[t][f];
    qb += static_cast<__int128>(b[t][g]) * b[t][g];
    ab += static_cast<__int128>(a[t][f]) * b[t][g];
  }
  const auto va = static_cast<double>(n * qa - sa * sa), vb = static_cast<double>(n * qb - sb * sb);
  return va > 0.0 && vb > 0.0 ? static_cast<double>(n * ab - sa * sb) / std::sqrt(va * vb) : NAN;
}

// r after the mean of every group of tokens is taken off.
double plain_within(const std::vector<std::vector<int64_t>>& a, int64_t f, const std::vector<std::vector<int64_t>>& b,
                    int64_t g, const std::vector<int64_t>& group, int64_t n_groups) {
  const auto left = [&](const std::vector<std::vector<int64_t>>& x, int64_t i,
                        const std::vector<std::vector<int64_t>>& y, int64_t j) {
    std::vector<int64_t> sum_x(n_groups, 0), sum_y(n_groups, 0), size(n_groups, 0);
    int64_t whole = 0;
    for (size_t t = 0; t < group.size(); ++t) {
      sum_x[group[t]] += x[t][i];
      sum_y[group[t]] += y[t][j];
      ++size[group[t]];
      whole += x[t][i] * y[t][j];
    }
    double of_means = 0.0;
    for (int64_t at = 0; at < n_groups; ++at) {
      if (size[at] == 0) continue;
      of_means +=
          (static_cast<double>(sum_x[at]) * static_cast<double>(sum_y[at])) * (1.0 / static_cast<double>(size[at]));
    }
    return std::make_pair(static_cast<double>(whole), static_cast<double>(whole) - of_means);
  };
  const auto [q_a, v_a] = left(a, f, a, f);
  const auto [q_b, v_b] = left(b, g, b, g);
  if (!(v_a > 1e-12 * q_a) || !(v_b > 1e-12 * q_b)) return NAN;
  return left(a, f, b, g).second / std::sqrt(v_a * v_b);
}

using Score = std::function<double(int64_t, int64_t)>;  // of a feature of one side and one of the other

// The best partner of every feature, highest r first and ties to the lowest index, by trying them all.
void check_scores(const Score& score_of, int64_t n_a, int64_t n_b, const at::Tensor& index, const at::Tensor& r) {
  const int64_t k = index.size(1);
  for (int64_t f = 0; f < n_a; ++f) {
    std::vector<std::pair<double, int64_t>> order;
    for (int64_t g = 0; g < n_b; ++g) {
      const double score = score_of(f, g);
      if (!std::isnan(score)) order.emplace_back(-score, g);
    }
    std::sort(order.begin(), order.end());
    for (int64_t slot = 0; slot < k; ++slot) {
      const auto found = index[f][slot].item<int64_t>();
      const auto score = r[f][slot].item<double>();
      if (slot < static_cast<int64_t>(order.size())) {
        require(found == order[slot].second && score == -order[slot].first, "best_matches gave another partner");
      } else {
        require(found == -1 && std::isnan(score), "best_matches filled an empty slot");
      }
    }
  }
}

void check_direction(const std::vector<std::vector<int64_t>>& a, const std::vector<std::vector<int64_t>>& b,
                     int64_t n_a, int64_t n_b, const at::Tensor& index, const at::Tensor& r) {
  check_scores([&](int64_t f, int64_t g) { return plain_pearson(a, f, b, g); }, n_a, n_b, index, r);
}

void fuzz_best_matches(FuzzedDataProvider& data) {
  const int64_t n_tokens = data.ConsumeIntegralInRange<int64_t>(1, 6);
  Side a = make_side(data, n_tokens);
  Side b = make_side(data, data.ConsumeIntegralInRange<int>(0, 15) == 0 ? n_tokens + 1 : n_tokens);
  const int64_t k = data.ConsumeIntegralInRange<int64_t>(0, 4);
  const Layout layout = maybe_change_one(data, {&a.indptr, &a.indices, &a.values, &b.indptr, &b.indices, &b.values});
  Matches out;
  if (!accepted([&] {
        out = best_matches().call(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices, b.values,
                                  b.n_features, k);
      }))
    return;
  require(!is_unreadable(layout), "best_matches read a tensor without data");
  static const bool planted =
      std::getenv("SEMCONV_FUZZ_PLANTED") != nullptr;  // scripts/checks/fuzz.sh: it must be found
  if (planted && a.n_features == 7 && k == 3) std::get<1>(out).mutable_data_ptr<double>()[0] += 1e-9;
  if (a.n_features > 100 || b.n_features > 100) return;  // wide and nearly empty: no crash is enough
  const auto x = codes_of(a), y = codes_of(b);
  check_direction(x, y, a.n_features, b.n_features, std::get<0>(out), std::get<1>(out));
  check_direction(y, x, b.n_features, a.n_features, std::get<2>(out), std::get<3>(out));
  // The streaming path must give the same bits when nothing is above its scale.
  at::Tensor s_ab = at::zeros({a.n_features, b.n_features}, at::kLong);
  at::Tensor sums_a = at::zeros({semconv::kFeatureSums, a.n_features}, at::kLong);
  at::Tensor sums_b = at::zeros({semconv::kFeatureSums, b.n_features}, at::kLong);
  sums_a[FeatureSum::kScaleExponent].fill_(semconv::kNoScale);
  sums_b[FeatureSum::kScaleExponent].fill_(semconv::kNoScale);
  cross_moments().call(s_ab, sums_a, sums_b, a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, 0);
  const auto streamed = best_from_moments().call(s_ab, sums_a, sums_b, n_tokens, k);
  require(at::equal(std::get<0>(out), std::get<0>(streamed)) && at::equal(std::get<2>(out), std::get<2>(streamed)),
          "cross_moments_ gave other partners than best_matches");
}

// Permutations of n items, one in eight of them spoilt.
at::Tensor make_permutations(FuzzedDataProvider& data, int64_t m, int64_t n) {
  at::Tensor out = at::zeros({m, n}, at::kInt);
  for (int64_t row = 0; row < m; ++row) {
    std::vector<int32_t> items(n);
    for (int64_t i = 0; i < n; ++i) items[i] = static_cast<int32_t>(i);
    for (int64_t i = n - 1; i > 0; --i) std::swap(items[i], items[data.ConsumeIntegralInRange<int64_t>(0, i)]);
    if (n > 0 && data.ConsumeIntegralInRange<int>(0, 7) == 0) items[0] = data.ConsumeIntegral<int32_t>();
    std::copy(items.begin(), items.end(), out.mutable_data_ptr<int32_t>() + row * n);
  }
  return out;
}

void fuzz_permuted_matches(FuzzedDataProvider& data) {
  const int64_t n_tokens = data.ConsumeIntegralInRange<int64_t>(1, 6);
  Side a = make_side(data, n_tokens), b = make_side(data, n_tokens);
  const int64_t m = data.ConsumeIntegralInRange<int64_t>(0, 3), k = data.ConsumeIntegralInRange<int64_t>(0, 4);
  at::Tensor permutations =
      make_permutations(data, m, data.ConsumeIntegralInRange<int>(0, 15) == 0 ? n_tokens + 1 : n_tokens);
  const Layout layout =
      maybe_change_one(data, {&a.indptr, &a.indices, &a.values, &b.indptr, &b.indices, &b.values, &permutations});
  Partners out;
  if (!accepted([&] {
        out = best_matches_permuted().call(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices, b.values,
                                           b.n_features, permutations, k);
      }))
    return;
  require(!is_unreadable(layout), "best_matches_permuted read a tensor without data");
  if (a.n_features > 100 || b.n_features > 100) return;
  const auto x = codes_of(a), y = codes_of(b);
  for (int64_t i = 0; i < m; ++i) {
    auto moved = y;
    for (int64_t t = 0; t < n_tokens; ++t) moved[t] = y[permutations[i][t].item<int64_t>()];
    check_direction(x, moved, a.n_features, b.n_features, std::get<0>(out)[i], std::get<1>(out)[i]);
    check_direction(moved, x, b.n_features, a.n_features, std::get<2>(out)[i], std::get<3>(out)[i]);
  }
}

void fuzz_within(FuzzedDataProvider& data) {
  const int64_t n_tokens = data.ConsumeIntegralInRange<int64_t>(1, 6);
  Side a = make_side(data, n_tokens), b = make_side(data, n_tokens);
  const int64_t k = data.ConsumeIntegralInRange<int64_t>(0, 4);
  const auto n_groups = data.ConsumeIntegralInRange<int64_t>(-1, n_tokens + 1);
  const int64_t n = data.ConsumeIntegralInRange<int>(0, 15) == 0 ? n_tokens + 1 : n_tokens;
  const bool honest = data.ConsumeIntegralInRange<int>(0, 7) > 0;
  std::vector<int64_t> group(n, 0);
  for (int64_t& g : group) {
    g = honest ? data.ConsumeIntegralInRange<int64_t>(0, std::max<int64_t>(n_groups, 1) - 1)
               : data.ConsumeIntegral<int32_t>();
  }
  at::Tensor groups = at::tensor(group, at::kLong).to(at::kInt);
  const Layout layout =
      maybe_change_one(data, {&a.indptr, &a.indices, &a.values, &b.indptr, &b.indices, &b.values, &groups});
  Matches out;
  if (!accepted([&] {
        out = best_matches_within().call(a.indptr, a.indices, a.values, a.n_features, b.indptr, b.indices, b.values,
                                         b.n_features, groups, n_groups, k);
      }))
    return;
  require(!is_unreadable(layout), "best_matches_within read a tensor without data");
  if (a.n_features > 100 || b.n_features > 100) return;
  for (int64_t t = 0; t < n_tokens; ++t) group[t] = groups[t].item<int64_t>();  // its layout may have changed it
  const auto x = codes_of(a), y = codes_of(b);
  const auto of = [&](int64_t f, int64_t g) { return plain_within(x, f, y, g, group, n_groups); };
  check_scores(of, a.n_features, b.n_features, std::get<0>(out), std::get<1>(out));
  const auto turned = [&](int64_t g, int64_t f) { return of(f, g); };
  check_scores(turned, b.n_features, a.n_features, std::get<2>(out), std::get<3>(out));
}

void fuzz_moments(FuzzedDataProvider& data) {
  const int64_t n_a = data.ConsumeIntegralInRange<int64_t>(0, 4), n_b = data.ConsumeIntegralInRange<int64_t>(0, 4);
  const auto tensor = [&](int64_t rows, int64_t columns) {
    at::Tensor t = at::zeros({rows, columns}, data.ConsumeIntegralInRange<int>(0, 15) == 0 ? at::kInt : at::kLong);
    if (t.scalar_type() != at::kLong) return t;
    for (int64_t i = 0; i < t.numel(); ++i) {
      t.mutable_data_ptr<int64_t>()[i] =
          data.ConsumeBool() ? data.ConsumeIntegralInRange<int64_t>(0, 1000) : data.ConsumeIntegral<int64_t>();
    }
    return t;
  };
  at::Tensor s_ab = tensor(n_a, n_b), sums_a = tensor(data.ConsumeIntegralInRange<int64_t>(4, 5), n_a),
             sums_b = tensor(5, n_b);
  const auto n_tokens = data.ConsumeIntegral<int64_t>();
  const Layout layout = maybe_change_one(data, {&s_ab, &sums_a, &sums_b});
  const bool one = accepted([&] { correlation_from_moments().call(s_ab, sums_a, sums_b, n_tokens); });
  const bool other = accepted([&] { best_from_moments().call(s_ab, sums_a, sums_b, n_tokens, 1); });
  require(!(one || other) || !is_unreadable(layout), "sums without data were read");
}

// Views of one piece of memory, or of memory of their own, as state and as input of a stream, with any state in it. The
// op must refuse what overlaps and keep what it refuses; what it accepts must be what it adds to a copy elsewhere.
void fuzz_overlap(FuzzedDataProvider& data) {
  const int64_t n_tokens = data.ConsumeIntegralInRange<int64_t>(1, 4);
  const Side a = make_side(data, n_tokens), b = make_side(data, n_tokens);
  if (a.n_features < 1 || b.n_features < 1 || a.n_features > 9 || b.n_features > 9) return;
  std::vector<at::Tensor> honest{at::zeros({a.n_features, b.n_features}, at::kLong),
                                 at::zeros({semconv::kFeatureSums, a.n_features}, at::kLong),
                                 at::zeros({semconv::kFeatureSums, b.n_features}, at::kLong),
                                 a.indptr,
                                 a.indices,
                                 a.values,
                                 b.indptr,
                                 b.indices,
                                 b.values};
  for (size_t i = 1; i < 3; ++i) honest[i][FeatureSum::kScaleExponent].fill_(semconv::kNoScale);
  if (data.ConsumeBool()) {  // a state that no data may have
    const auto which = data.ConsumeIntegralInRange<size_t>(0, 2);
    const auto place = data.ConsumeIntegralInRange<int64_t>(0, honest[which].numel() - 1);
    honest[which].mutable_data_ptr<int64_t>()[place] = data.ConsumeIntegral<int64_t>();
  }
  constexpr int64_t kBytes = 8192;
  const at::Tensor memory = at::zeros({kBytes}, at::kByte);
  std::vector<at::Tensor> given;
  std::vector<std::pair<int64_t, int64_t>> places;  // first and last byte
  for (const at::Tensor& t : honest) {
    const auto size = static_cast<int64_t>(t.nbytes());
    const int64_t begin = data.ConsumeBool() ? 8 * data.ConsumeIntegralInRange<int64_t>(0, (kBytes - size) / 8)
                                             : (kBytes - 896 * static_cast<int64_t>(given.size() + 1)) / 8 * 8;
    if (begin < 0 || size > kBytes - begin) return;
    given.push_back(memory.narrow(0, begin, size).view(t.scalar_type()).view(t.sizes()));
    given.back().copy_(t);
    places.emplace_back(begin, begin + size);
  }
  bool overlap = false;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = i + 1; j < places.size(); ++j) {
      const bool empty = places[i].first == places[i].second || places[j].first == places[j].second;
      overlap |= !empty && places[i].first < places[j].second && places[j].first < places[i].second;
    }
  }
  std::vector<at::Tensor> apart;
  for (const at::Tensor& t : given) apart.push_back(t.clone());
  const at::Tensor before = memory.clone();
  Layout layout = Layout::kPlain;
  if (data.ConsumeIntegralInRange<int>(0, 7) == 0) {
    layout = change_layout(data, given[data.ConsumeIntegralInRange<size_t>(0, given.size() - 1)]);
  }
  const auto add_to = [&](const std::vector<at::Tensor>& t) {
    return accepted([&] { cross_moments().call(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], 1); });
  };
  if (!add_to(given)) {
    require(at::equal(memory, before), "cross_moments_ refused and wrote");
    return;
  }
  if (layout == Layout::kExpanded || layout == Layout::kStrided) return;  // other values, or no longer in this memory
  require(!is_unreadable(layout), "cross_moments_ read or wrote a tensor without data");
  require(!overlap, "cross_moments_ accepted memory that is shared");
  require(add_to(apart), "cross_moments_ refused in other memory");
  for (size_t i = 0; i < 3; ++i) require(at::equal(given[i], apart[i]), "cross_moments_ gave other sums elsewhere");
}

void fuzz_compact_rows(FuzzedDataProvider& data) {
  const int64_t n = data.ConsumeIntegralInRange<int64_t>(0, 3), width = data.ConsumeIntegralInRange<int64_t>(0, 70);
  at::Tensor x = at::zeros({n, width}, at::kFloat);
  const bool odd = data.ConsumeIntegralInRange<int>(0, 3) == 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (!data.ConsumeBool()) continue;
    x.mutable_data_ptr<float>()[i] = odd ? odd_value(data) : static_cast<float>(data.ConsumeIntegral<uint16_t>()) / 8;
  }
  constexpr at::ScalarType kTypes[] = {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble};
  x = x.to(data.PickValueInArray(kTypes));
  const at::ScalarType dtype = data.PickValueInArray(kTypes);
  std::optional<at::Tensor> threshold;
  if (data.ConsumeBool()) threshold = at::full({width}, data.ConsumeBool() ? 100.0f : odd_value(data), at::kFloat);
  const Layout layout =
      threshold.has_value() ? maybe_change_one(data, {&x, &*threshold}) : maybe_change_one(data, {&x});
  std::tuple<at::Tensor, at::Tensor, at::Tensor> out;
  if (!accepted([&] { out = compact_rows().call(x, dtype, threshold); })) return;
  require(!is_unreadable(layout), "compact_rows read a tensor without data");
  at::Tensor kept = x.to(at::kFloat);
  if (threshold.has_value()) kept = at::where(at::gt(kept, *threshold), kept, at::zeros_like(kept));
  kept = kept.to(dtype);
  const auto& [indptr, indices, values] = out;
  at::Tensor dense = at::zeros({n, width}, dtype);
  for (int64_t t = 0; t < n; ++t) {
    for (int64_t i = indptr[t].item<int64_t>(); i < indptr[t + 1].item<int64_t>(); ++i) {
      dense[t][indices[i].item<int64_t>()] = values[i];
    }
  }
  require(at::equal(dense, kept), "compact_rows kept something else");
}

void fuzz_permuted_dot(FuzzedDataProvider& data) {
  const int64_t n = data.ConsumeIntegralInRange<int64_t>(0, 6), m = data.ConsumeIntegralInRange<int64_t>(0, 3);
  const auto matrix = [&] {
    at::Tensor x = at::zeros({n, n}, at::kDouble);
    for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<double>()[i] = data.ConsumeIntegral<int8_t>();
    return at::add(x, x.t());
  };
  at::Tensor x = matrix(), y = matrix();
  at::Tensor permutations = make_permutations(data, m, n);
  const Layout layout = maybe_change_one(data, {&x, &y, &permutations});
  at::Tensor out;
  if (!accepted([&] { out = permuted_dot().call(x, y, permutations); })) return;
  require(!is_unreadable(layout), "permuted_dot read a tensor without data");
  for (int64_t row = 0; row < m; ++row) {
    double expected = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        expected += x[i][j].item<double>() *
                    y[permutations[row][i].item<int64_t>()][permutations[row][j].item<int64_t>()].item<double>();
      }
    }
    require(out[row].item<double>() == expected, "permuted_dot gave another sum");  // small integers: exact
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange<int>(0, 6)) {
    case 0:
      fuzz_compact_rows(data);
      break;
    case 1:
      fuzz_permuted_dot(data);
      break;
    case 2:
      if (data.ConsumeBool()) {
        fuzz_overlap(data);
      } else {
        fuzz_moments(data);
      }
      break;
    case 3:
      fuzz_permuted_matches(data);
      break;
    case 4:
      fuzz_within(data);
      break;
    default:
      fuzz_best_matches(data);
  }
  return 0;
}
