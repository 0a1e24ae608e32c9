// Any 64 bytes: decode() accepts only what encode() writes, and never touches memory it should not.
#include <cstdlib>
#include <cstring>

#include "common/wire/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sheaf::wire;
  HeaderBytes bytes{};
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  Header header;
  if (decode(bytes, header) == HeaderFault::none && encode(header) != bytes) std::abort();

  // The same input as fields: what is encoded decodes to itself.
  Header made;
  if (size >= 48) {
    made.type = static_cast<FrameType>(1 + data[0] % 12);
    made.status = data[1];
    std::memcpy(&made.round, data + 2, 2);
    std::memcpy(&made.table, data + 4, 4);
    std::memcpy(&made.chunk, data + 8, 4);
    std::memcpy(&made.step, data + 12, 8);
    std::memcpy(&made.partitions.first, data + 20, 4);
    std::memcpy(&made.partitions.count, data + 24, 4);
    std::memcpy(&made.value, data + 28, 8);
    std::memcpy(&made.payload_bytes, data + 36, 4);
    std::memcpy(&made.payload_crc, data + 40, 4);
    Header back;
    if (decode(encode(made), back) != HeaderFault::none || back != made) std::abort();
  }
  return 0;
}
