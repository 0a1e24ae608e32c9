#include "worker/data/formats/npy_header.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they stand");

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint32_t kLongestHeader = 1 << 20;
constexpr std::uint64_t kMostValues = std::uint64_t{1} << 48;

struct TypeName {
  std::string_view text;
  NpyType type;
  std::size_t bytes;
};
constexpr std::array kTypes = {TypeName{"<f4", NpyType::f4, 4}, TypeName{"<f8", NpyType::f8, 8},
                               TypeName{"|u1", NpyType::u1, 1}, TypeName{"<i4", NpyType::i4, 4},
                               TypeName{"<i8", NpyType::i8, 8}};

// What follows `key` in the header, a Python dictionary such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }
std::string_view value_of(std::string_view header, std::string_view key, const ByteReader& in) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = quote + std::string(key) + quote;
    const auto at = header.find(quoted);
    if (at == std::string_view::npos) continue;
    std::string_view value = header.substr(at + quoted.size());
    value.remove_prefix(std::min(value.find_first_not_of(" :"), value.size()));
    return value;
  }
  fail(Fault::data, "{}: expected '{}' in the .npy header, found {}", in.name(), key, header);
}

NpyType parse_type(std::string_view value, const ByteReader& in) {
  const std::string_view text =
      value.empty() ? value : value.substr(1, value.find(value[0], 1) - 1);
  for (const TypeName& known : kTypes) {
    if (text == known.text && (value[0] == '\'' || value[0] == '"')) return known.type;
  }
  fail(Fault::data,
       "{}: found values of type {}, expected one of <f4, <f8, <i4, <i8, |u1; convert it, for "
       "instance with array.astype(\"<f4\")",
       in.name(), value.substr(0, value.find(", '")));
}

std::vector<std::uint64_t> parse_shape(std::string_view value, const ByteReader& in) {
  const std::string_view all = value.substr(0, value.find(')'));
  std::vector<std::uint64_t> shape;
  std::string_view rest = all;
  while (!rest.empty()) {
    rest.remove_prefix(std::min(rest.find_first_not_of("( ,"), rest.size()));
    if (rest.empty()) break;
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
    if (error != std::errc()) {
      fail(Fault::data, "{}: found shape {}), expected whole numbers", in.name(), all);
    }
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    shape.push_back(size);
  }
  if (shape.empty()) {
    fail(Fault::data, "{}: found a single value, expected an array with a row per example",
         in.name());
  }
  return shape;
}

// The bytes that the shape asks for. Throws if no file can hold them.
std::uint64_t content_bytes(const NpyHeader& header, const ByteReader& in) {
  std::uint64_t values = 1;
  for (const std::uint64_t size : header.shape) {
    if (size > kMostValues || (size > 0 && values > kMostValues / size)) {
      fail(Fault::data, "{}: found a shape of more than 2^48 values; the header is damaged",
           in.name());
    }
    values *= size;
  }
  return values * header.item_bytes();
}

std::uint32_t header_length(ByteReader& in, unsigned version) {
  std::array<std::byte, 4> bytes{};
  in.read_exactly(std::span(bytes).first(version == 1 ? 2 : 4), "the .npy header");
  std::uint32_t length = 0;
  std::memcpy(&length, bytes.data(), bytes.size());
  if (length > kLongestHeader) {
    fail(Fault::data, "{}: found a .npy header of {} bytes, expected at most {}", in.name(), length,
         kLongestHeader);
  }
  return length;
}

template <typename T>
double value_as(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<double>(value);
}

}  // namespace

std::uint64_t NpyHeader::width() const {
  std::uint64_t width = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) width *= shape[i];
  return width;
}

std::size_t NpyHeader::item_bytes() const {
  for (const TypeName& known : kTypes) {
    if (type == known.type) return known.bytes;
  }
  return 0;
}

NpyHeader read_npy_header(ByteReader& in) {
  std::array<std::byte, 8> start{};
  in.read_exactly(start, "the .npy header");
  if (std::memcmp(start.data(), kMagic.data(), kMagic.size()) != 0) {
    fail(Fault::data, "{}: expected a .npy file, but it does not begin with \\x93NUMPY", in.name());
  }
  const auto version = std::to_integer<unsigned>(start[6]);
  if (version < 1 || version > 3) {
    fail(Fault::data, "{}: found .npy version {}, expected 1, 2 or 3", in.name(), version);
  }
  std::string text(header_length(in, version), '\0');
  in.read_exactly(std::as_writable_bytes(std::span(text)), "the .npy header");

  NpyHeader header;
  header.type = parse_type(value_of(text, "descr", in), in);
  if (!value_of(text, "fortran_order", in).starts_with("False")) {
    fail(Fault::data,
         "{}: found columns stored one after the other, expected C order; save "
         "numpy.ascontiguousarray(array)",
         in.name());
  }
  header.shape = parse_shape(value_of(text, "shape", in), in);
  in.expect_room_for(content_bytes(header, in), "the array of its header");
  return header;
}

double npy_value(NpyType type, const std::byte* bytes) {
  switch (type) {
    case NpyType::f4: return value_as<float>(bytes);
    case NpyType::f8: return value_as<double>(bytes);
    case NpyType::u1: return value_as<std::uint8_t>(bytes);
    case NpyType::i4: return value_as<std::int32_t>(bytes);
    case NpyType::i8: return value_as<std::int64_t>(bytes);
  }
  return 0;
}

}  // namespace sheaf::worker
