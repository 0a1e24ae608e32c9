// The front door of a server process: lanes of one shard each, on their own threads. The same
// object runs under mpirun and as a thread of a test.
//
//   Server server(options, shutdown);
//   endpoints = server.bind(address, ports);   // announced to the coordinator
//   server.open(layout, roster);               // once the job's layout is known
//   ServerReport report = server.run();        // until the shutdown ends
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/checkpoint/disk.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/reader.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "common/compression/by_chunk.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
#include "common/privacy/mechanism.h"
#include "common/wire/messages.h"
#include "server/consistency/gate.h"

namespace sheaf::server {

class Checkpointer;
class Lane;
class ScalarLinks;
class Snapshot;
struct ShardParts;

struct ServerOptions {
  std::uint32_t id = 0;
  std::uint32_t servers = 1;
  std::uint32_t workers = 1;
  std::uint32_t partitions = 1;
  std::uint32_t lanes = 1;
  std::size_t chunk_bytes = 0;                    // 0 = automatic
  std::unique_ptr<privacy::Mechanism> mechanism;  // that perturbs at the server, or null
  double clip_norm = 0;                           // 0 = no clipping
  bool skip_non_finite = false;                   // see ShardParts
  std::function<void(Step)> skipped = {};  // a step was left out; called from a lane's thread
  // So many chunks, all of the lane, have been released with noise; called from its thread.
  std::function<void(Step, std::uint32_t lane, std::uint32_t chunks, const wire::Digest&)>
      released = {};
  std::uint64_t seed = 0;  // of the run
  std::unique_ptr<Gate> gate;
  std::unique_ptr<optimization::Optimizer> optimizer;
  std::unique_ptr<optimization::Schedule> schedule;
  compression::Codecs push;
  compression::Codecs pull;
  bool pull_feedback = false;  // see ShardParts
  net::Credentials credentials;
  Duration handshake_limit = std::chrono::seconds(5);
  Duration dead_limit = std::chrono::seconds(10);
  // For another process to take the place of a server that keeps a replica.
  Duration return_limit = std::chrono::seconds(60);
  std::function<void(const std::string&)> warn;  // called from any lane's thread
};

// Where a server's part of each checkpoint goes.
struct CheckpointOptions {
  checkpoint::Disk& disk;
  std::filesystem::path folder;  // checkpoints/ of the run directory
  std::string job;
  std::string host;
  // One version is on the disk, or why it is not. Called from a thread of its own.
  std::function<void(Version, std::optional<checkpoint::Part>, const std::string& error)> on_done;
};

struct ServerReport {
  std::uint64_t duplicates = 0;
  std::uint64_t dropped = 0;        // pushes of partitions that steps went without
  std::size_t memory_bytes = 0;     // parameters, optimizer state, buffers
  std::vector<double> lane_pauses;  // see Lane::checkpoint_pauses(), in seconds, of all lanes
};

class Server {
 public:
  Server(ServerOptions options, cluster::Shutdown& shutdown);
  ~Server();

  // Listens once per lane. Throws Fault::network if no port of the range is free.
  std::vector<net::Endpoint> bind(const std::string& address, net::PortRange ports);
  // What perturbs sums here, if its noise and secret are known only now. Before open().
  void protect(std::unique_ptr<privacy::Mechanism> mechanism) {
    options_.mechanism = std::move(mechanism);
  }
  // `servers` are all servers of the job, this one included.
  // With a `keeper`, which outlives the object, workers of this host may share memory; then a lane
  // looks for work for `spin` before it sleeps.
  // What is to be there when this process has ended, and whether it goes on where another one has.
  struct Recovery {
    // Of snapshots, in which each lane keeps its chunks; null: there are none. Outlives the object.
    cluster::KeeperClient* keeper = nullptr;
    // For each server, the one that keeps a replica of it; empty: nobody does.
    std::vector<std::uint32_t> backups = {};
    // Goes on with the snapshots of another process that has ended, or with what its backup keeps.
    bool adopt = false;
    // What it has left in memory of this host is still there.
    bool same_host = true;
    // restore() follows, for what it has left nothing of.
    bool restores_rest = false;
    // When it has; called once, by run() or from a lane's thread.
    std::function<void()> on_adopted = {};
  };
  // With recovery.adopt throws Fault::checkpoint or Fault::network if that cannot be done, as may
  // run().
  void open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
            cluster::KeeperClient* keeper, Duration spin, Recovery recovery);
  void open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
            cluster::KeeperClient* keeper = nullptr, Duration spin = {}) {
    open(std::move(layout), servers, keeper, spin, {});
  }
  // Another process is at work as that server. After open(). Thread-safe.
  void moved(const wire::ProcessInfo& server);
  // Checkpoints are written from now on. After open(), before run().
  void checkpoint_into(const CheckpointOptions& options);
  // Each lane writes its history to a file of this folder, which is made. `first` is
  // the step that the job begins at. After open(), before run(). Throws Fault::data.
  void trace_into(const std::filesystem::path& folder, std::uint32_t incarnation, Step first);
  // Begins where a checkpoint ends, but for chunks that were adopted. It is read while run() runs,
  // which throws Fault::checkpoint if it is damaged. After open(), before run(), once; `disk`
  // outlives the object.
  void restore(checkpoint::Disk& disk, const std::filesystem::path& folder,
               checkpoint::Manifest manifest);
  // Each chunk is saved when it is at that version, at which the job may `end`. The answer comes
  // from another thread: false if one has passed it; then it is to be abandoned. After
  // checkpoint_into().
  void checkpoint_at(Version version, bool end, std::function<void(bool in_time)> answer);
  void abandon_checkpoint(Version version);
  // A whole checkpoint whose files `version` may name: see PartWriter.
  void name_base(Version version, Version base);
  // What everything that it acknowledges does. After open().
  wire::Survives survives() const;
  bool writes_checkpoints() const { return checkpointer_ != nullptr; }
  // What the lanes may allocate together, in bytes. After open().
  std::size_t memory_bound() const;
  // Of that, what holds chunks on their way into a checkpoint.
  std::size_t checkpoint_memory() const;
  // Serves until the shutdown ends. Throws the failure, if that is how it ended.
  ServerReport run();
  // How many steps of each of these partitions every chunk has; the largest number there is without
  // chunks. After open(); the answer comes from another thread while run() is running.
  void clock(PartitionRange partitions, std::function<void(Step)> answer);
  // Whoever was that worker before gets no word in any more. Thread-safe.
  void fence(std::uint32_t worker, std::uint32_t incarnation);
  // The step that the fastest lane is at. REQUIRES: opened, and run() is not running.
  Step step() const;
  // Who is waited for; empty if nobody, or if a lane does not say within `limit`. Thread-safe while
  // run() is running.
  wire::Waiting waiting_for(Duration limit);

  Lane& lane(std::size_t index) { return *lanes_[index]; }

 private:
  std::array<std::span<float>, 2> share_parameters(cluster::KeeperClient& keeper, bool adopt);
  std::optional<Snapshot> adopt_snapshot(const ShardParts& parts, const Recovery& recovery);
  Snapshot begin_snapshot(const ShardParts& parts, cluster::KeeperClient& keeper);
  void replicate(std::uint32_t lane, const std::vector<wire::ProcessInfo>& servers,
                 const Recovery& recovery, bool adopt);
  void on_lane_adopted();
  void spread(std::uint32_t from_lane, Step step, std::uint32_t chunk, double value);

  ServerOptions options_;
  cluster::Shutdown& shutdown_;
  params::Layout layout_;
  net::SharedMemory parameters_;  // two vectors, if the host shares them
  std::vector<net::SharedMemory> snapshots_;
  std::atomic<std::size_t> adopting_{0};  // lanes, and open() itself
  std::function<void()> on_adopted_;
  std::size_t replica_bytes_ = 0;
  std::unique_ptr<params::ChunkMap> chunks_;
  std::unique_ptr<params::ShardMap> shards_;
  std::unique_ptr<compression::Compressor> push_;
  std::unique_ptr<compression::Compressor> pull_;
  checkpoint::Manifest restored_;            // where it began, if at a checkpoint
  std::vector<checkpoint::Reader> readers_;  // one for each lane
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<ScalarLinks> links_;          // only if scalars are needed
  std::unique_ptr<Checkpointer> checkpointer_;  // only if checkpoints are written; calls the lanes
};

}  // namespace sheaf::server
