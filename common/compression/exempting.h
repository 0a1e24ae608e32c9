// Small tensors (biases, mostly) are spared: chunks that hold nothing else go as floats, whatever
// the compressor of the others.
#pragma once

#include <cstddef>
#include <memory>

#include "common/compression/compressor.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::compression {

// `compressor`, except for chunks whose tensors all have fewer values than `fewest`. It is returned
// as it is where that is none of them, or where it sends floats anyway. Chunks are told apart by
// the chunk of an EncodingKey. Promises stay those of `compressor`.
std::unique_ptr<Compressor> exempting(std::unique_ptr<Compressor> compressor,
                                      const params::Layout& layout, const params::ChunkMap& chunks,
                                      std::size_t fewest);

}  // namespace sheaf::compression
