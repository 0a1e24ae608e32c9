// What workers have of each version where pulls have feedback (server/chunk/view.h). Who does not
// have the version before (it has just begun, or takes another's place) is sent the whole of what
// the others have: the same bits, as both sides add the same bytes to the same values. So a
// difference that is lost, or comes twice, does no harm: it is asked for again, or not asked for
// any more.
#include <algorithm>

#include "common/wire/checksum.h"
#include "server/chunk/view.h"
#include "server/shard/shard.h"

namespace sheaf::server {

std::span<float> Shard::view_room(ChunkState& state, Version version) {
  Published& slot = state.published[version % 2];
  if (parts_.snapshot) {
    slot.view = parts_.snapshot.view(index_of(state), version);
  } else {
    slot.view_hold = pool_.take();
    slot.view = slot.view_hold.floats(state.chunk->size);
  }
  return slot.view;
}

void Shard::follow(ChunkState& state) {
  if (!parts_.pull_feedback) return;
  Published& slot = state.published[state.newest % 2];
  const std::span<float> view = view_room(state, state.newest);
  if (state.newest == 0) {
    std::ranges::copy(slot.values, view.begin());
    return;
  }
  slot.encoded = pool_.take();
  slot.bytes = static_cast<std::uint32_t>(follow_view(
      parts_.pull, {parts_.seed, state.newest, compression::kEveryPartition, state.id}, slot.values,
      state.published[(state.newest - 1) % 2].view, view, slot.encoded.bytes()));
  slot.crc = wire::crc32c(slot.encoded.bytes().first(slot.bytes));
}

void Shard::answer_from_view(const ChunkState& state, const ParkedPull& pull, Published& slot,
                             wire::OutFrame& frame) {
  const bool difference = slot.encoded && pull.next != 0 && pull.next == frame.header.value;
  if (difference) {
    frame.header.status = static_cast<std::uint8_t>(wire::PullStatus::difference);
    frame.header.payload_bytes = slot.bytes;
    frame.header.payload_crc = slot.crc;
    frame.payload = slot.encoded.bytes().first(slot.bytes);
    frame.hold = slot.encoded;
  } else {
    if (!slot.view_hold) {  // it lies where it will be written over
      slot.view_hold = pool_.take();
      std::ranges::copy(slot.view, slot.view_hold.floats(state.chunk->size).begin());
    }
    frame.payload = std::as_bytes(slot.view_hold.floats(state.chunk->size));
    frame.header.payload_bytes = static_cast<std::uint32_t>(frame.payload.size());
    frame.header.payload_crc = wire::crc32c(frame.payload);
    frame.hold = slot.view_hold;
  }
  frame.crc_known = true;
}

}  // namespace sheaf::server
