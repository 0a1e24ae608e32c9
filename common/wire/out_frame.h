// A frame on its way out: a header, and a payload that stays where it is until it has been sent.
#pragma once

#include <cstddef>
#include <span>

#include "common/base/buffer_pool.h"
#include "common/wire/frame.h"

namespace sheaf::wire {

struct OutFrame {
  Header header;                       // payload_bytes set; payload_crc if crc_known
  std::span<const std::byte> payload;  // borrowed
  Buffer hold;                         // keeps the payload alive, if it lies in a pool
  bool crc_known = false;              // else the sender computes payload_crc
};

}  // namespace sheaf::wire
