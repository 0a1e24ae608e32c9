#include "worker/data/split.h"

#include <cmath>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

// The two sets of rows that a source can have are permuted independently.
constexpr std::uint64_t kTrainingRows = 0;
constexpr std::uint64_t kTestRows = 1;

// A fraction such as 0.29 lies a little below its decimal value in binary; 0.29 of 100 rows is 29.
std::uint64_t floor_of(std::uint64_t rows, double fraction) {
  return static_cast<std::uint64_t>(static_cast<double>(rows) * fraction * (1 + 1e-12));
}

std::array<std::uint64_t, 3> part_sizes(std::uint64_t rows, Split::Fractions fractions) {
  check(!Split::problem(fractions), "fractions of a split");
  const std::uint64_t validation = floor_of(rows, fractions.validation);
  const std::uint64_t test = floor_of(rows, fractions.test);
  check(validation + test <= rows, "parts of a split");
  return {rows - validation - test, validation, test};
}

}  // namespace

Split::Split(std::uint64_t rows, Fractions fractions, std::uint32_t partitions, std::uint64_t seed)
    : Split(part_sizes(rows, fractions), partitions,
            Permutation(rows, seed, Purpose::split, kTrainingRows)) {}

Split Split::of_test_set(std::uint64_t rows, std::uint32_t partitions, std::uint64_t seed) {
  return Split({0, 0, rows}, partitions, Permutation(rows, seed, Purpose::split, kTestRows));
}

Split::Split(Sizes sizes, std::uint32_t partitions, const Permutation& permutation)
    : permutation_(permutation), partitions_(partitions), sizes_(sizes) {
  check(partitions > 0 && rows() < (std::uint64_t{1} << 63) / partitions, "partitions of a split");
}

std::optional<std::string> Split::problem(Fractions fractions) {
  const auto [validation, test] = fractions;
  if (validation >= 0 && test >= 0 && validation + test < 1) return std::nullopt;
  return fmt::format(
      "validation = {} and test = {} leave nothing for training; both must be at "
      "least 0 and their sum below 1",
      validation, test);
}

std::uint64_t Split::first_position(Part part) const {
  switch (part) {
    case Part::validation: return 0;
    case Part::test: return size(Part::validation);
    case Part::train: return size(Part::validation) + size(Part::test);
  }
  return 0;
}

Split::Place Split::place(std::uint64_t row) const {
  const std::uint64_t position = permutation_(row);
  Place place;
  if (position < first_position(Part::test)) {
    place.part = Part::validation;
  } else if (position < first_position(Part::train)) {
    place.part = Part::test;
  }
  const std::uint64_t j = position - first_position(place.part);
  const std::uint64_t n = size(place.part);
  // The largest p with floor(n p / P) <= j.
  place.partition = static_cast<std::uint32_t>(((j + 1) * partitions_ - 1) / n);
  place.index = j - share_begin(n, place.partition, partitions_);
  return place;
}

std::uint64_t Split::row(const Place& place) const {
  return permutation_.inverse(first_position(place.part) +
                              share_begin(size(place.part), place.partition, partitions_) +
                              place.index);
}

std::uint64_t Split::size(Part part, std::uint32_t partition) const {
  return share_size(size(part), partition, partitions_);
}

}  // namespace sheaf::worker
