#include "common/wire/frame.h"

#include "common/wire/bytes.h"
#include "common/wire/checksum.h"

namespace sheaf::wire {
namespace {

constexpr std::uint32_t kMagic = 0x31464853;  // "SHF1"
constexpr std::size_t kHeaderCrcAt = 60;

}  // namespace

std::string_view to_string(FrameType type) {
  switch (type) {
    case FrameType::push: return "push";
    case FrameType::push_ack: return "push_ack";
    case FrameType::pull: return "pull";
    case FrameType::pull_reply: return "pull_reply";
    case FrameType::end: return "end";
    case FrameType::end_ack: return "end_ack";
    case FrameType::init: return "init";
    case FrameType::init_ack: return "init_ack";
    case FrameType::scalars: return "scalars";
    case FrameType::control: return "control";
    case FrameType::beat: return "beat";
    case FrameType::tensor: return "tensor";
    case FrameType::share: return "share";
    case FrameType::share_ack: return "share_ack";
    case FrameType::replicate: return "replicate";
    case FrameType::replicated: return "replicated";
    case FrameType::copy: return "copy";
    case FrameType::replica: return "replica";
  }
  return "unknown";
}

std::string_view to_string(Survives survives) {
  switch (survives) {
    case Survives::ram: return "ram";
    case Survives::snapshot: return "snapshot";
    case Survives::replica: return "replica";
  }
  return "unknown";
}

std::string_view to_string(HeaderFault fault) {
  switch (fault) {
    case HeaderFault::none: return "no fault";
    case HeaderFault::magic: return "not a Sheaf frame of version 1";
    case HeaderFault::checksum: return "wrong header checksum";
    case HeaderFault::type: return "unknown frame type";
    case HeaderFault::reserved: return "a reserved field is set";
  }
  return "unknown fault";
}

HeaderBytes encode(const Header& h) {
  HeaderBytes bytes{};
  put<std::uint32_t>(bytes, 0, kMagic);
  put<std::uint8_t>(bytes, 4, static_cast<std::uint8_t>(h.type));
  put<std::uint8_t>(bytes, 5, h.status);
  put<std::uint16_t>(bytes, 6, h.round);
  put<std::uint32_t>(bytes, 8, h.table);
  put<std::uint32_t>(bytes, 12, h.chunk);
  put<std::uint64_t>(bytes, 16, h.step);
  put<std::uint32_t>(bytes, 24, h.partitions.first);
  put<std::uint32_t>(bytes, 28, h.partitions.count);
  put<std::uint64_t>(bytes, 32, h.value);
  put<std::uint32_t>(bytes, 40, h.payload_bytes);
  put<std::uint32_t>(bytes, 56, h.payload_crc);
  put<std::uint32_t>(bytes, kHeaderCrcAt, crc32c(std::span(bytes).first(kHeaderCrcAt)));
  return bytes;
}

HeaderFault decode(std::span<const std::byte, kHeaderBytes> bytes, Header& header) {
  if (get<std::uint32_t>(bytes, 0) != kMagic) return HeaderFault::magic;
  if (get<std::uint32_t>(bytes, kHeaderCrcAt) != crc32c(bytes.first(kHeaderCrcAt))) {
    return HeaderFault::checksum;
  }
  const auto type = get<std::uint8_t>(bytes, 4);
  if (type < static_cast<std::uint8_t>(FrameType::push) ||
      type > static_cast<std::uint8_t>(FrameType::replica)) {
    return HeaderFault::type;
  }
  if (get<std::uint32_t>(bytes, 44) != 0 || get<std::uint64_t>(bytes, 48) != 0) {
    return HeaderFault::reserved;
  }
  header.type = static_cast<FrameType>(type);
  header.status = get<std::uint8_t>(bytes, 5);
  header.round = get<std::uint16_t>(bytes, 6);
  header.table = get<std::uint32_t>(bytes, 8);
  header.chunk = get<std::uint32_t>(bytes, 12);
  header.step = get<std::uint64_t>(bytes, 16);
  header.partitions = {get<std::uint32_t>(bytes, 24), get<std::uint32_t>(bytes, 28)};
  header.value = get<std::uint64_t>(bytes, 32);
  header.payload_bytes = get<std::uint32_t>(bytes, 40);
  header.payload_crc = get<std::uint32_t>(bytes, 56);
  return HeaderFault::none;
}

}  // namespace sheaf::wire
