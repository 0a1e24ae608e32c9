// The header of a frame: definition, writer, reader. FORMAT.md says what each field means.
// Pure functions without allocation; safe to call with any bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/base/ids.h"

namespace sheaf::wire {

enum class FrameType : std::uint8_t {
  push = 1,
  push_ack = 2,
  pull = 3,
  pull_reply = 4,
  end = 5,
  end_ack = 6,
  init = 7,
  init_ack = 8,
  scalars = 9,
  control = 10,
  beat = 11,
  tensor = 12,
  share = 13,
  share_ack = 14,
  replicate = 15,
  replicated = 16,
  copy = 17,
  replica = 18,
};
std::string_view to_string(FrameType type);

// Status of a share_ack.
enum class ShareStatus : std::uint8_t { shared = 0, refused = 1 };

// Status of a pull_reply: the values of the version, or what is new since the version before.
enum class PullStatus : std::uint8_t { whole = 0, difference = 1, superseded = 2 };

// Status of a push_ack.
enum class PushStatus : std::uint8_t { added = 0, duplicate = 1, partial = 2 };

// What an acknowledged push, end or init outlives: value of its answer. The process of the server
// may end (snapshot), or its host be lost (replica).
enum class Survives : std::uint8_t { ram = 0, snapshot = 1, replica = 2 };
std::string_view to_string(Survives survives);

// Status of a replica frame: what a server says of its part to the one that keeps a replica of it,
// and what that one answers.
enum class ReplicaWord : std::uint8_t {
  keep = 0,   // copies of what I have follow
  give = 1,   // I have nothing: send copies of what you keep
  whole = 2,  // there are no more copies: you have all that I have
  part = 3,   // I cannot: I have not been told everything
};

struct Header {
  FrameType type = FrameType::beat;
  std::uint8_t status = 0;
  std::uint16_t round = 0;
  std::uint32_t table = kVectorTable;
  std::uint32_t chunk = 0;
  std::uint64_t step = 0;
  PartitionRange partitions;
  std::uint64_t value = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;
  bool operator==(const Header&) const = default;
};

inline constexpr std::size_t kHeaderBytes = 64;
using HeaderBytes = std::array<std::byte, kHeaderBytes>;

HeaderBytes encode(const Header& header);

enum class HeaderFault { none, magic, checksum, type, reserved };
std::string_view to_string(HeaderFault fault);

// Reads a header. On a fault `header` is untouched. A header that passes has a known type and no
// unknown field set; whether its values make sense is for the receiver to say.
HeaderFault decode(std::span<const std::byte, kHeaderBytes> bytes, Header& header);

}  // namespace sheaf::wire
