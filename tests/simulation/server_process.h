// A simulated server: its lanes, and its part of checkpoints, which it writes chunk by chunk to the
// disk of the simulation. It is told by the coordinator when to begin, and how.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "common/checkpoint/reader.h"
#include "common/wire/messages.h"
#include "server/checkpoint/part_writer.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/lane_server.h"

namespace sheaf::simulation {

// What a server is told when it is to begin.
struct Beginning {
  bool adopt = false;                       // it goes on where another one has ended,
  bool same_host = true;                    // on its host
  std::vector<std::uint32_t> workers = {};  // the newest incarnation of each,
  std::vector<std::uint32_t> servers = {};  // the same
  std::vector<ServerProcess*> there = {};   // servers; null: it is being replaced
  std::vector<std::uint32_t> backups = {};  // of each server; empty: there are none
};

class ServerProcess final : public Process {
 public:
  ServerProcess(Cluster& cluster, std::uint32_t server, std::uint32_t number);

  // ---- what the coordinator says; see the messages in common/wire
  void open(const Beginning& beginning);
  void checkpoint_at(const wire::CheckpointAt& order);
  void name_base(const wire::CheckpointBase& base) { part_->name_base(base.version, base.base); }
  void say_clock(const wire::PartitionClock& question);
  void moved(ServerProcess& server);  // is at work in another one's place
  void say_waiting();                 // for whom

  // ---- what its lanes say
  std::span<float> room(std::size_t floats);
  void ready(Version version, std::uint32_t chunk, std::span<float> room);
  void on_adopted(std::uint32_t lane);  // it has what a replica had

  // Whether another process is at work in its place.
  bool superseded() const;
  bool is_open() const { return opened_; }
  std::vector<std::unique_ptr<LaneServer>> lanes;

 private:
  void write_next();
  void begin_work();
  void restore(std::size_t lane, std::size_t n);

  Cluster& cluster_;
  bool opened_ = false;
  bool adopted_ = false;       // what another one has left
  std::size_t adopting_ = 0;   // lanes
  std::size_t restoring_ = 0;  // lanes
  std::uint32_t reading_ = 3;  // milliseconds a chunk, at most
  std::vector<wire::CheckpointAt> early_;
  std::vector<std::uint32_t> ids_;  // of its chunks

  checkpoint::WatchedDisk disk_;
  std::vector<std::unique_ptr<checkpoint::Reader>> readers_;
  std::size_t rooms_ = 0;  // in use
  bool wanted_ = false;
  std::list<std::vector<float>> buffers_;
  struct Item {
    Version version;
    std::uint32_t chunk;
    std::span<float> room;  // empty: the version is abandoned
  };
  std::deque<Item> queue_;
  std::unique_ptr<server::PartWriter> part_;  // last: it gives up its files on the disk
};

}  // namespace sheaf::simulation
