// What a lane says to the one that keeps its replica, and what that one's answers mean: a lane that
// takes the place of a lost one first goes on with what the replica has, every other one tells it
// each step. The other end of the conversation is Replica.
//
// Plain code: no sockets, no threads, no time. Belongs to one lane; what breaks the rules throws
// Fault::network.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "common/base/ids.h"
#include "common/wire/out_frame.h"
#include "server/replica/chunk_copy.h"

namespace sheaf::server {

class Shard;

class BackupTalk {
 public:
  struct Options {
    ProcessId backup;
    bool adopt = false;                // goes on with what that one has
    std::function<void()> on_adopted;  // all chunks are here
    CopyShape shape;
  };
  // `shard` outlives the object.
  BackupTalk(Options options, Shard& shard);

  // Whether it has still to go on with what the replica has.
  bool adopts() const { return options_.adopt; }
  // There is a new connection.
  void on_attached();
  // Exactly where the payload goes.
  std::span<std::byte> receive_into(const wire::Header& header);
  // Throws Fault::checkpoint if what the replica has given lacks chunks.
  void on_frame(const wire::Header& header);
  std::optional<wire::OutFrame> next_frame();

 private:
  Options options_;
  Shard& shard_;
  CopyReceiver receiver_;
  bool greeted_ = false;  // the first word of a connection is said
};

}  // namespace sheaf::server
