// The header of a NumPy .npy file, versions 1 to 3 (numpy.org/doc, numpy.lib.format). Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/data/formats/byte_reader.h"

namespace sheaf::worker {

enum class NpyType { f4, f8, u1, i4, i8 };

struct NpyHeader {
  NpyType type = NpyType::f4;
  std::vector<std::uint64_t> shape;  // one dimension or more

  std::uint64_t rows() const { return shape.front(); }
  std::uint64_t width() const;  // values per row
  std::size_t item_bytes() const;
};

// Reads the header and leaves `in` at the first value. Throws Fault::data, with the reason, for
// what is no .npy file or holds anything but little-endian f4, f8, i4, i8 or u1 in C order, and if
// the file is too small for the shape.
NpyHeader read_npy_header(ByteReader& in);

// The value at `bytes`, little-endian.
double npy_value(NpyType type, const std::byte* bytes);

}  // namespace sheaf::worker
