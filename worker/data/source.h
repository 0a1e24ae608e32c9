// A data source reads examples from files or makes them. The family behind [data] kind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/mode.h"
#include "worker/data/batch.h"
#include "worker/data/normaliser.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::worker {

class Examples;

// Which set of examples: what a source offers for training, or its own separate test set.
enum class SourcePart { train, test };

// True for the rows (from 0, in file order) that this process needs.
using RowFilter = std::function<bool(std::uint64_t row)>;

class Source {
 public:
  using Make = std::unique_ptr<Source>(const config::Section& section, std::uint64_t seed);

  virtual ~Source() = default;

  // These may open files. What is wrong with the data throws Fault::data, naming file and place.
  virtual Schema schema() = 0;
  virtual std::uint64_t rows(SourcePart part) = 0;  // 0 for test = no test set of its own
  // Appends the rows that `keep` accepts, in file order.
  virtual void read(SourcePart part, const RowFilter& keep, Examples& into) = 0;
  // "train-labels-idx1-ubyte: example 17", "prices.csv:18": for messages.
  virtual std::string locate(SourcePart part, std::uint64_t row) const = 0;
  // By what [data] says whose example each training row is, as a text; empty: it does not say.
  virtual std::string users_by() const { return {}; }
  // The user of each training row, in file order: numbers from 0, by who comes first, none left
  // out. REQUIRES: users_by() is not empty.
  virtual std::vector<std::uint32_t> users() { return {}; }
  // The files behind it, for the proof that every host sees the same data. Empty when synthetic.
  virtual std::vector<std::filesystem::path> files() const = 0;
  // What [data] normalise means when the job file does not say.
  virtual Normalisation default_normalisation() const { return Normalisation::none; }
};

ModeTable<Source> sources();

}  // namespace sheaf::worker
