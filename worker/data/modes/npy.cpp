// Arrays in NumPy .npy files: one row (the first dimension) per example, further dimensions
// flattened. Types <f4, <f8, <i4, <i8 and |u1; bytes stay bytes in memory.
//
//   inputs = "x.npy"            targets = "y.npy"
//   test_inputs = "…"           test_targets = "…"     (optional, both)
//   users = "u.npy"             a whole number per row, which says whose it is   (optional)
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/examples.h"
#include "worker/data/formats/npy_header.h"
#include "worker/data/source.h"
#include "worker/data/user_numbers.h"

namespace sheaf::worker {
namespace {

namespace fs = std::filesystem;

struct Arrays {
  fs::path inputs;
  fs::path targets;
};

struct Headers {
  NpyHeader inputs;
  NpyHeader targets;
};

// The rows of one array, one after the other.
class RowReader {
 public:
  explicit RowReader(const fs::path& path)
      : in_(path), header_(read_npy_header(in_)), bytes_(header_.width() * header_.item_bytes()) {}

  void next() {
    in_.read_exactly(bytes_, "the array");
    ++rows_;
  }
  void expect_end() { in_.expect_end("the array"); }

  std::span<const std::uint8_t> as_bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size()};
  }
  // Throws Fault::data for what is no finite float.
  void as_floats(std::span<float> into) const {
    for (std::size_t i = 0; i < into.size(); ++i) {
      const double value = npy_value(header_.type, bytes_.data() + i * header_.item_bytes());
      if (!(std::abs(value) <= double{std::numeric_limits<float>::max()})) {
        fail(Fault::data, "{}: row {}, value {}: found {}, expected a finite 32-bit number",
             in_.name(), rows_ - 1, i, value);
      }
      into[i] = static_cast<float>(value);
    }
  }

 private:
  ByteReader in_;
  NpyHeader header_;
  std::vector<std::byte> bytes_;  // the current row
  std::uint64_t rows_ = 0;        // read so far
};

class Npy final : public Source {
 public:
  explicit Npy(const config::Section& section)
      : train_{section.text("inputs", std::nullopt), section.text("targets", std::nullopt)} {
    if (section.has("test_inputs") || section.has("test_targets")) {
      test_ = {section.text("test_inputs", std::nullopt),
               section.text("test_targets", std::nullopt)};
    }
    if (section.has("users")) users_ = section.text("users", std::nullopt);
  }

  Schema schema() override {
    const Headers& found = headers(SourcePart::train);
    return {found.inputs.width(), found.targets.width(), found.inputs.type == NpyType::u1};
  }

  std::uint64_t rows(SourcePart part) override {
    if (arrays(part).inputs.empty()) return 0;
    return headers(part).inputs.rows();
  }

  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    const Schema schema = this->schema();
    RowReader inputs(arrays(part).inputs);
    RowReader targets(arrays(part).targets);
    std::vector<float> input(schema.bytes ? 0 : schema.features);
    std::vector<float> target(schema.targets);
    const std::uint64_t count = rows(part);
    for (std::uint64_t row = 0; row < count; ++row) {
      inputs.next();
      targets.next();
      if (!keep(row)) continue;
      targets.as_floats(target);
      if (schema.bytes) {
        into.append(row, inputs.as_bytes(), target);
      } else {
        inputs.as_floats(input);
        into.append(row, input, target);
      }
    }
    inputs.expect_end();
    targets.expect_end();
  }

  std::string locate(SourcePart part, std::uint64_t row) const override {
    return fmt::format("{}: row {}", arrays(part).targets.string(), row);
  }

  std::vector<fs::path> files() const override {
    std::vector<fs::path> all = {train_.inputs, train_.targets};
    if (!test_.inputs.empty()) all.insert(all.end(), {test_.inputs, test_.targets});
    if (!users_.empty()) all.push_back(users_);
    return all;
  }

  // Not where the file is: it may be moved between two runs of a job.
  std::string users_by() const override { return users_.filename().string(); }

  std::vector<std::uint32_t> users() override {
    ByteReader file(users_);
    const NpyHeader header = read_npy_header(file);
    if (header.type == NpyType::f4 || header.type == NpyType::f8) {
      fail(Fault::data, "{}: found real numbers, expected whole ones (|u1, <i4 or <i8) for users",
           file.name());
    }
    if (header.rows() != rows(SourcePart::train) || header.width() != 1) {
      fail(Fault::data,
           "{}: found {} rows of {}, expected one number for each of the {} rows of {}",
           file.name(), header.rows(), header.width(), rows(SourcePart::train),
           train_.inputs.string());
    }
    UserNumbers<std::int64_t> numbers;
    std::vector<std::uint32_t> all(header.rows());
    std::vector<std::byte> item(header.item_bytes());
    for (std::uint32_t& user : all) {
      file.read_exactly(item, "the array");
      user = numbers.of(whole_number(header.type, item));
    }
    file.expect_end("the array");
    return all;
  }

 private:
  // All bits of it: a double would make one user of two.
  static std::int64_t whole_number(NpyType type, std::span<const std::byte> item) {
    if (type == NpyType::u1) return std::to_integer<std::int64_t>(item[0]);
    std::int64_t wide = 0;
    std::int32_t narrow = 0;
    if (type == NpyType::i8) {
      std::memcpy(&wide, item.data(), sizeof(wide));
      return wide;
    }
    std::memcpy(&narrow, item.data(), sizeof(narrow));
    return narrow;
  }

  const Arrays& arrays(SourcePart part) const { return part == SourcePart::train ? train_ : test_; }

  const Headers& headers(SourcePart part) {
    auto& known = headers_[part == SourcePart::train ? 0 : 1];
    if (known) return *known;
    const Arrays& files = arrays(part);
    ByteReader inputs(files.inputs);
    ByteReader targets(files.targets);
    const Headers found{read_npy_header(inputs), read_npy_header(targets)};
    if (found.inputs.rows() != found.targets.rows()) {
      fail(Fault::data, "{} has {} rows, but {} has {}; expected one target row per input row",
           inputs.name(), found.inputs.rows(), targets.name(), found.targets.rows());
    }
    for (const auto& [header, name] :
         {std::pair(found.inputs, inputs.name()), std::pair(found.targets, targets.name())}) {
      if (header.rows() == 0 || header.width() == 0) {
        fail(Fault::data, "{}: found an array without values", name);
      }
    }
    if (part == SourcePart::test) expect_like_train(found);
    known = found;
    return *known;
  }

  void expect_like_train(const Headers& test) {
    const Headers& train = headers(SourcePart::train);
    const bool bytes_differ =
        (test.inputs.type == NpyType::u1) != (train.inputs.type == NpyType::u1);
    if (test.inputs.width() != train.inputs.width() ||
        test.targets.width() != train.targets.width() || bytes_differ) {
      fail(Fault::data,
           "{} and {}: found {} inputs{} and {} targets per row, expected {}{} and {} as in {}",
           test_.inputs.string(), test_.targets.string(), test.inputs.width(),
           test.inputs.type == NpyType::u1 ? " (bytes)" : "", test.targets.width(),
           train.inputs.width(), train.inputs.type == NpyType::u1 ? " (bytes)" : "",
           train.targets.width(), train_.inputs.string());
    }
  }

  Arrays train_;
  Arrays test_;                                    // empty paths: no test set
  fs::path users_;                                 // empty: nobody asks
  std::array<std::optional<Headers>, 2> headers_;  // by part, once read
};

std::unique_ptr<Source> make_npy(const config::Section& section, std::uint64_t /*seed*/) {
  return std::make_unique<Npy>(section);
}

}  // namespace

extern const Mode<Source> source_npy = {"arrays in NumPy .npy files, a row per example", &make_npy};

}  // namespace sheaf::worker
