// Declares the schema of every semconv op; the kernels register themselves beside their code.
#include <torch/library.h>

TORCH_LIBRARY(semconv, m) {
  m.def(
      "compact_rows(Tensor x, ScalarType dtype, Tensor? threshold=None) -> "
      "(Tensor indptr, Tensor indices, Tensor values)");
  m.def(
      "best_matches(Tensor a_indptr, Tensor a_indices, Tensor a_values, int n_features_a, "
      "Tensor b_indptr, Tensor b_indices, Tensor b_values, int n_features_b, int k) -> "
      "(Tensor a_index, Tensor a_r, Tensor b_index, Tensor b_r, Tensor a_noise, Tensor b_noise)");
  m.def(
      "best_matches_permuted(Tensor a_indptr, Tensor a_indices, Tensor a_values, int n_features_a, "
      "Tensor b_indptr, Tensor b_indices, Tensor b_values, int n_features_b, Tensor permutations, int k) -> "
      "(Tensor a_index, Tensor a_r, Tensor b_index, Tensor b_r)");
  m.def(
      "best_matches_shifted(Tensor a_indptr, Tensor a_indices, Tensor a_values, int n_features_a, "
      "Tensor b_indptr, Tensor b_indices, Tensor b_values, int n_features_b, int[] shifts, int k) -> "
      "(Tensor a_index, Tensor a_r, Tensor b_index, Tensor b_r)");
  m.def(
      "best_matches_within(Tensor a_indptr, Tensor a_indices, Tensor a_values, int n_features_a, "
      "Tensor b_indptr, Tensor b_indices, Tensor b_values, int n_features_b, Tensor groups, int n_groups, int k) -> "
      "(Tensor a_index, Tensor a_r, Tensor b_index, Tensor b_r, Tensor a_noise, Tensor b_noise)");
  m.def(
      "cross_moments_(Tensor(a!) s_ab, Tensor(b!) sums_a, Tensor(c!) sums_b, "
      "Tensor a_indptr, Tensor a_indices, Tensor a_values, Tensor b_indptr, Tensor b_indices, Tensor b_values, "
      "int headroom_bits) -> ()");
  m.def("correlation_from_moments(Tensor s_ab, Tensor sums_a, Tensor sums_b, int n_tokens) -> Tensor");
  m.def(
      "best_from_moments(Tensor s_ab, Tensor sums_a, Tensor sums_b, int n_tokens, int k) -> "
      "(Tensor a_index, Tensor a_r, Tensor b_index, Tensor b_r, Tensor a_noise, Tensor b_noise)");
  m.def("permuted_dot(Tensor x, Tensor y, Tensor permutations) -> Tensor");
  // Of `semconv bench --device cuda`; they have CUDA kernels only.
  m.def(
      "naive_cross_moments_(Tensor(a!) s_ab, Tensor(b!) sums_a, Tensor(c!) sums_b, "
      "Tensor a_indptr, Tensor a_indices, Tensor a_values, Tensor b_indptr, Tensor b_indices, Tensor b_values, "
      "int headroom_bits) -> ()");
  m.def("shared_adds(Tensor like, int n_features) -> (Tensor sums, int n_adds)");
  m.def("gather_rows(Tensor rows, Tensor picks) -> Tensor");
}
