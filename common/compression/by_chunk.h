// Which compressor each chunk gets: layers may have compressors of their own, by the names of their
// tensors, and small tensors (biases, mostly) may be spared.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/compression/compressor.h"
#include "common/compression/factors.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::compression {

// Whether `name` is what `pattern` says, where * stands for any characters, or none.
bool matches(std::string_view pattern, std::string_view name);

// Of tensors whose names match.
struct LayerCodec {
  std::string match;
  std::unique_ptr<Compressor> compressor;
};

// What one direction is compressed by.
struct Codecs {
  std::unique_ptr<Compressor> usual;
  std::vector<LayerCodec> layers = {};  // the first that matches counts
  std::size_t exempt_below = 0;         // tensors of fewer values go as floats
};

// What a tensor, or a chunk, gets of Codecs: one of `layers`, or one of these.
using Choice = int;
inline constexpr Choice kUsual = -1, kFloats = -2;

// Of each chunk. What holds several tensors gets what the largest of them is to have, the first of
// those that are as large; what is averaged goes as floats. `patterns`: those of Codecs::layers.
std::vector<Choice> choices_of(std::span<const std::string> patterns, std::size_t exempt_below,
                               const params::Layout& layout, const params::ChunkMap& chunks);

// The chunks that are pushed as factors: of those of the usual compressor, if it makes any.
Factors factors_in(const Codecs& codecs, const params::Layout& layout,
                   const params::ChunkMap& chunks);
// A layout of parameters with these factors behind it.
params::Layout pushed_layout(const Codecs& codecs, const params::Layout& parameters,
                             std::size_t chunk_bytes);

// All of them as one compressor, which tells chunks apart by the chunk of an EncodingKey; the usual
// one as it is where that is what all chunks get. Its promises are those of the usual one. One that
// makes factors needs them in the layout, and what is none of its chunks goes as floats.
std::unique_ptr<Compressor> by_chunk(Codecs codecs, const params::Layout& layout,
                                     const params::ChunkMap& chunks);

}  // namespace sheaf::compression
