#include "../ceilings.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "packed_csr.h"

namespace semconv {
namespace {

constexpr int64_t kCachedRows = 16;                 // 16 x 80 records of 4 bytes: a tenth of L1
constexpr int64_t kCachedColumns = 2048;            // 16 KiB of accumulators
constexpr int64_t kGatherBytes = int64_t{1} << 28;  // beyond the caches that a core can call its own
constexpr int64_t kPostings = 4096;                 // of one feature
constexpr double kSeconds = 0.1;                    // of each measurement, after as long a warm-up

// Rows as best_matches packs them, with random columns and codes.
RecordRows random_rows(int64_t n_rows, int64_t row_length) {
  RecordRows rows;
  rows.offsets.resize(n_rows + 1);
  for (int64_t i = 0; i <= n_rows; ++i) rows.offsets[i] = i * row_length;
  rows.records = HugePageArray<Record>(rows.offsets.back());
  at::parallel_for(0, n_rows, 1024, [&](int64_t lo, int64_t hi) {
    std::minstd_rand random(static_cast<uint32_t>(lo + 1));
    for (int64_t i = lo; i < hi; ++i) {
      for (int64_t j = rows.offsets[i]; j < rows.offsets[i + 1]; ++j) {
        rows.records[j] = {static_cast<uint16_t>(random() % kCachedColumns), static_cast<uint16_t>(random())};
      }
    }
  });
  return rows;
}

// One feature whose postings visit the rows in random order.
Postings random_postings(const RecordRows& rows) {
  Postings postings;
  postings.offsets = {0, kPostings};
  postings.entries = HugePageArray<uint64_t>(kPostings);
  std::mt19937_64 random(1);
  for (int64_t i = 0; i < kPostings; ++i) {
    const uint64_t row = random() % (rows.offsets.size() - 1);
    postings.entries[i] = row << 16 | (random() & 0xFFFF);
  }
  return postings;
}

// Reads one record of every cache line of the rows, asked for ahead as accumulate() does.
int64_t gather(const Postings& postings, const RecordRows& rows, int64_t row_length) {
  constexpr int64_t kAhead = 4, kRecordsPerLine = 64 / sizeof(Record);
  int64_t sum = 0;
  const auto row_of = [&](int64_t i) {
    return rows.records.data() + rows.offsets[postings.entries[i % kPostings] >> 16];
  };
  for (int64_t i = 0; i < kPostings; ++i) {
    for (int64_t j = 0; j < row_length; j += kRecordsPerLine) __builtin_prefetch(row_of(i + kAhead) + j);
    for (int64_t j = 0; j < row_length; j += kRecordsPerLine) sum += row_of(i)[j].code;
  }
  return sum;
}

// Runs work(thread) over and over on every thread; returns calls per nanosecond, of all threads together.
template <typename Work>
double calls_per_ns(const Work& work) {
  using Clock = std::chrono::steady_clock;
  const int64_t n = at::get_num_threads();
  std::vector<double> rates(n, 0.0);
  at::parallel_for(0, n, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t thread = lo; thread < hi; ++thread) {
      double rate = 0.0;
      for (int pass = 0; pass < 2; ++pass) {  // the first warms up
        const auto began = Clock::now();
        int64_t calls = 0;
        double ns = 0.0;
        for (; ns < kSeconds * 1e9; ++calls) {
          work(thread, calls);
          ns = std::chrono::duration<double, std::nano>(Clock::now() - began).count();
        }
        rate = static_cast<double>(calls) / ns;
      }
      rates[thread] = rate;
    }
  });
  double total = 0.0;
  for (const double rate : rates) total += rate;
  return total;
}

}  // namespace

Ceilings measure_ceilings_cpu(int64_t row_length) {
  if (row_length < 1 || row_length > kBlockColumns) {
    throw std::invalid_argument("row_length must be between 1 and 65536, got " + std::to_string(row_length));
  }
  Ceilings ceilings{};
  {
    const RecordRows rows = random_rows(kCachedRows, row_length);
    const Postings postings = random_postings(rows);
    const std::vector<RowPlace> places = rows.places();
    std::vector<std::vector<int64_t>> accumulators(at::get_num_threads(), std::vector<int64_t>(kCachedColumns));
    const double rate = calls_per_ns(
        [&](int64_t thread, int64_t) { accumulate(postings, 0, rows, places, accumulators[thread].data()); });
    ceilings.updates_per_ns = rate * static_cast<double>(kPostings * row_length);
  }
  const int64_t n_rows = std::max<int64_t>(1, kGatherBytes / (row_length * static_cast<int64_t>(sizeof(Record))));
  const RecordRows rows = random_rows(n_rows, row_length);
  // Every call visits other rows: one list would come from the cache the second time.
  std::vector<Postings> lists;
  for (int64_t i = 0; i < at::get_num_threads(); ++i) lists.push_back(random_postings(rows));
  std::atomic<int64_t> sink{0};
  const double rate = calls_per_ns([&](int64_t thread, int64_t call) {
    Postings& list = lists[thread];
    if (call > 0) {  // move every posting by a prime number of rows
      for (int64_t i = 0; i < kPostings; ++i) list.entries[i] = ((list.entries[i] >> 16) + 7919) % n_rows << 16;
    }
    sink += gather(list, rows, row_length);
  });
  ceilings.gathered_bytes_per_ns = rate * static_cast<double>(kPostings * row_length) * sizeof(Record);
  return ceilings;
}

}  // namespace semconv
