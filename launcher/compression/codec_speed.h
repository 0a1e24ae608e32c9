// How fast this core encodes and adds a chunk with a compressor, measured in some hundredths of a
// second.
#pragma once

#include "common/compression/compressor.h"
#include "launcher/compression/codec_choice.h"

namespace sheaf::launcher {

// With error feedback if that is what goes with it.
CodecSpeed measure_codec(const compression::Compressor& compressor, bool feedback);

}  // namespace sheaf::launcher
