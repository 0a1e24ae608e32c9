// IDX files of bytes (yann.lecun.com/exdb/mnist): images or other inputs of 2 to 4 dimensions, the
// first of which counts the examples, and one label per example. Plain or gzip.
//
//   path = "/usr/share/datasets/fashion-mnist"   the folder with the usual four names, or
//   train_images, train_labels, test_images, test_labels = the files by name (before `path`)
#include <algorithm>
#include <array>
#include <optional>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/examples.h"
#include "worker/data/formats/byte_reader.h"
#include "worker/data/source.h"

namespace sheaf::worker {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kBytes = 0x08;  // the type code of unsigned bytes
constexpr std::uint64_t kMostValues = std::uint64_t{1} << 48;

struct Header {
  std::uint64_t rows = 0;
  std::uint64_t width = 1;  // bytes per row
};

std::uint32_t big_endian(std::span<const std::byte, 4> bytes) {
  std::uint32_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint32_t>(byte);
  return value;
}

// Reads the header and leaves `in` at the first row. The file must hold bytes in `least` to `most`
// dimensions; `expected` says so in a message.
Header read_header(ByteReader& in, unsigned least, unsigned most, std::string_view expected) {
  std::array<std::byte, 4> word{};
  in.read_exactly(word, "the IDX header");
  const std::uint32_t magic = big_endian(word);
  const unsigned dimensions = magic & 0xFF;
  if (magic >> 8 != kBytes || dimensions < least || dimensions > most) {
    fail(Fault::data, "{}: found magic number 0x{:08x}, expected {}", in.name(), magic, expected);
  }
  Header header;
  for (unsigned d = 0; d < dimensions; ++d) {
    in.read_exactly(word, "the IDX header");
    const std::uint64_t size = big_endian(word);
    if (d == 0) {
      header.rows = size;
    } else if (size == 0 || header.width > kMostValues / size) {
      fail(Fault::data, "{}: found {} values along dimension {}; the header is damaged", in.name(),
           size, d + 1);
    } else {
      header.width *= size;
    }
  }
  if (header.rows == 0) fail(Fault::data, "{}: found no examples", in.name());
  if (header.rows > kMostValues / header.width) {
    fail(Fault::data, "{}: found {} examples of {} bytes; the header is damaged", in.name(),
         header.rows, header.width);
  }
  in.expect_room_for(header.rows * header.width, "the content that its header announces");
  return header;
}

Header read_image_header(ByteReader& in) {
  return read_header(in, 2, 4, "0x00000803 (images: unsigned bytes, 3 dimensions)");
}

Header read_label_header(ByteReader& in) {
  return read_header(in, 1, 1, "0x00000801 (labels: unsigned bytes, 1 dimension)");
}

struct Files {
  fs::path images;
  fs::path labels;
  bool given() const { return !images.empty(); }
};

// FOLDER/NAME, or FOLDER/NAME.gz, or nothing.
std::optional<fs::path> find_file(const fs::path& folder, std::string_view name) {
  for (const char* suffix : {"", ".gz"}) {
    fs::path path = folder / (std::string(name) + suffix);
    if (fs::exists(path)) return path;
  }
  return std::nullopt;
}

class Idx final : public Source {
 public:
  explicit Idx(const config::Section& section) {
    train_ = read_pair(section, "train_images", "train_labels");
    test_ = read_pair(section, "test_images", "test_labels");
    if (!train_.given() || section.has("path")) folder_ = section.text("path", std::nullopt);
  }

  Schema schema() override { return {header(SourcePart::train).width, 1, true}; }

  std::uint64_t rows(SourcePart part) override {
    return files_of(part).given() ? header(part).rows : 0;
  }

  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    const Header expected = header(part);
    const Files files = files_of(part);
    ByteReader images(files.images);
    ByteReader labels(files.labels);
    read_image_header(images);
    read_label_header(labels);
    std::vector<std::uint8_t> image(expected.width);
    std::array<std::byte, 1> label{};
    for (std::uint64_t row = 0; row < expected.rows; ++row) {
      images.read_exactly(std::as_writable_bytes(std::span(image)), "the images");
      labels.read_exactly(label, "the labels");
      if (!keep(row)) continue;
      const std::array targets = {static_cast<float>(std::to_integer<unsigned>(label[0]))};
      into.append(row, image, targets);
    }
    images.expect_end("the last image");
    labels.expect_end("the last label");
  }

  std::string locate(SourcePart part, std::uint64_t row) const override {
    return fmt::format("{}: example {}", files_of(part).labels.string(), row);
  }

  std::vector<fs::path> files() const override {
    std::vector<fs::path> all;
    for (const SourcePart part : {SourcePart::train, SourcePart::test}) {
      const Files files = files_of(part);
      if (!files.given()) continue;
      all.push_back(files.images);
      all.push_back(files.labels);
    }
    return all;
  }

  Normalisation default_normalisation() const override { return Normalisation::unit; }

 private:
  static Files read_pair(const config::Section& section, std::string_view images,
                         std::string_view labels) {
    if (!section.has(images) && !section.has(labels)) return {};
    return {section.text(images, std::nullopt), section.text(labels, std::nullopt)};
  }

  // The files by name, else those in the folder. A folder need not have a test set.
  Files files_of(SourcePart part) const {
    const bool train = part == SourcePart::train;
    const Files& named = train ? train_ : test_;
    if (named.given() || (train_.given() && folder_.empty())) return named;
    const std::string prefix = train ? "train" : "t10k";
    const std::array names = {prefix + "-images-idx3-ubyte", prefix + "-labels-idx1-ubyte"};
    const auto images = find_file(folder_, names[0]);
    const auto labels = find_file(folder_, names[1]);
    if (images && labels) return {*images, *labels};
    if (!train && !images && !labels) return {};
    fail(Fault::data, "{}: found no file {} or {}.gz; set data.path to the folder that has it",
         folder_.string(), names[images ? 1 : 0], names[images ? 1 : 0]);
  }

  const Header& header(SourcePart part) {
    auto& known = headers_[part == SourcePart::train ? 0 : 1];
    if (known) return *known;
    const Files files = files_of(part);
    ByteReader images(files.images);
    ByteReader labels(files.labels);
    const Header found = read_image_header(images);
    const Header label = read_label_header(labels);
    if (found.rows != label.rows) {
      fail(Fault::data, "{} has {} images, but {} has {} labels; expected one label per image",
           images.name(), found.rows, labels.name(), label.rows);
    }
    if (part == SourcePart::test && found.width != header(SourcePart::train).width) {
      fail(Fault::data, "{}: found {} values per image, expected {} as in {}", images.name(),
           found.width, header(SourcePart::train).width,
           files_of(SourcePart::train).images.string());
    }
    known = found;
    return *known;
  }

  fs::path folder_;
  Files train_;  // by name; empty if the folder has them
  Files test_;
  std::array<std::optional<Header>, 2> headers_;  // by part, once read
};

std::unique_ptr<Source> make_idx(const config::Section& section, std::uint64_t /*seed*/) {
  return std::make_unique<Idx>(section);
}

}  // namespace

extern const Mode<Source> source_idx = {
    "images and labels in IDX files, plain or gzip (MNIST, Fashion-MNIST)", &make_idx};

}  // namespace sheaf::worker
