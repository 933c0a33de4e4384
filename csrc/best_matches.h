// best_matches: for every feature of two sparse activation matrices, its k best partners on the other side by Pearson
// r.
#pragma once

#include <ATen/core/Tensor.h>
#include <tuple>

namespace semconv {

// Inputs, CSR over the same tokens: indptr int64 [n_tokens + 1], indices int32 [nnz] strictly increasing per row,
// values float16 | float32 [nnz] finite and >= 0; 1 <= k <= n_features on either side.
// Returns a_index int64 [F_a, k], a_r float64 [F_a, k], b_index, b_r [F_b, k], a_noise float64 [F_a], b_noise [F_b].
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k);
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    int64_t k);

// The same under several permutations, int32 [m, n_tokens]: token t of a is paired with token permutations[i, t] of b.
// Returns a_index int64 [m, F_a, k], a_r, b_index [m, F_b, k], b_r.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_permuted_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k);
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_permuted_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& permutations, int64_t k);

// The same where the permutations are circular shifts: token t of a is paired with token (t + shift) mod n_tokens of b,
// 0 <= shift < n_tokens.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k);
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_shifted_cuda(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    at::IntArrayRef shifts, int64_t k);

// The same after the mean of every group of tokens is taken off each feature; groups int32 [n_tokens], in
// [0, n_groups). Only on the CPU.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_matches_within_cpu(
    const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values, int64_t n_features_a,
    const at::Tensor& b_indptr, const at::Tensor& b_indices, const at::Tensor& b_values, int64_t n_features_b,
    const at::Tensor& groups, int64_t n_groups, int64_t k);

}  // namespace semconv
