// The base of sources that make their examples. Each example is a pure function of (seed, part,
// row), so every process makes the rows it needs and no others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "worker/data/source.h"

namespace sheaf::worker {

constexpr std::int64_t kMostFeatures = 1 << 24;  // of a synthetic example

class SyntheticSource : public Source {
 public:
  // Reads `examples`, `test_examples` (default 0: no test set) and `users` (default: none are
  // named), to whom the training rows go in turn.
  SyntheticSource(const config::Section& section, std::uint64_t seed);

  std::uint64_t rows(SourcePart part) final;
  void read(SourcePart part, const RowFilter& keep, Examples& into) final;
  std::string locate(SourcePart part, std::uint64_t row) const final;
  std::string users_by() const final { return users_ == 0 ? "" : std::to_string(users_); }
  std::vector<std::uint32_t> users() final;
  std::vector<std::filesystem::path> files() const final { return {}; }

 protected:
  // Writes one example, drawing all its randomness from `stream`.
  virtual void make(Stream& stream, std::span<float> inputs, std::span<float> targets) const = 0;

 private:
  std::uint64_t seed_;
  std::uint64_t examples_;
  std::uint64_t test_examples_;
  std::uint32_t users_ = 0;
};

}  // namespace sheaf::worker
