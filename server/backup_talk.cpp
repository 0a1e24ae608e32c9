#include "server/backup_talk.h"

#include <utility>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

using wire::FrameType;
using wire::Header;
using wire::ReplicaWord;

BackupTalk::BackupTalk(Options options, Shard& shard)
    : options_(std::move(options)), shard_(shard), receiver_(options_.shape) {}

void BackupTalk::on_attached() {
  greeted_ = false;
  if (!options_.adopt) shard_.on_backup();
}

std::span<std::byte> BackupTalk::receive_into(const Header& header) {
  if (header.type == FrameType::copy && options_.adopt) {
    return receiver_.receive_into(header, shard_.elements(header));
  }
  const bool word = header.type == FrameType::replica && options_.adopt;
  if ((!word && header.type != FrameType::replicated) || header.payload_bytes != 0) {
    fail(Fault::network, "{} of {} bytes from {}, which keeps a replica", to_string(header.type),
         header.payload_bytes, to_string(options_.backup));
  }
  return {};
}

void BackupTalk::on_frame(const Header& header) {
  if (header.type == FrameType::replicated) return shard_.on_replicated(header);
  if (header.type == FrameType::copy) {
    if (const auto copy = receiver_.on_part(header)) shard_.adopt(header.chunk, *copy);
    return;
  }
  if (header.status != static_cast<std::uint8_t>(ReplicaWord::whole)) {
    fail(Fault::network, "{} has no whole replica: it was lost a moment ago, too",
         to_string(options_.backup));
  }
  shard_.on_adopted();
  options_.adopt = false;
  options_.on_adopted();
}

std::optional<wire::OutFrame> BackupTalk::next_frame() {
  if (!std::exchange(greeted_, true)) {
    wire::OutFrame word;
    word.header.type = FrameType::replica;
    word.header.status =
        static_cast<std::uint8_t>(options_.adopt ? ReplicaWord::give : ReplicaWord::keep);
    return word;
  }
  return shard_.next_for_backup();
}

}  // namespace sheaf::server
