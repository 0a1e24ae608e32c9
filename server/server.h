// The front door of a server process: lanes of one shard each, on their own threads. The same
// object runs under mpirun and as a thread of a test.
//
//   Server server(options, shutdown);
//   endpoints = server.bind(address, ports);   // announced to the coordinator
//   server.open(layout, roster);               // once the job's layout is known
//   ServerReport report = server.run();        // until the shutdown ends
#pragma once

#include <array>
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
#include "common/compression/compressor.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
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
  std::size_t chunk_bytes = 0;             // 0 = automatic
  double clip_norm = 0;                    // 0 = no clipping
  bool skip_non_finite = false;            // see ShardParts
  std::function<void(Step)> skipped = {};  // a step was left out; called from a lane's thread
  std::uint64_t seed = 0;                  // of the run
  std::unique_ptr<Gate> gate;
  std::unique_ptr<optimization::Optimizer> optimizer;
  std::unique_ptr<optimization::Schedule> schedule;
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  std::size_t push_exempt = 0;  // tensors of fewer values are not compressed
  std::size_t pull_exempt = 0;
  net::Credentials credentials;
  Duration handshake_limit = std::chrono::seconds(5);
  Duration dead_limit = std::chrono::seconds(10);
  std::function<void(const std::string&)> warn;  // called from any lane's thread
};

// Where a server's part of each checkpoint goes.
struct CheckpointOptions {
  checkpoint::Disk& disk;
  std::filesystem::path folder;  // checkpoints/ of the run directory
  std::string job;
  std::string host;
  // One version is on the disk, or why it is not. Called from a thread of its own.
  std::function<void(Version, std::optional<checkpoint::WrittenFile>, const std::string& error)>
      on_done;
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
  // `servers` are all servers of the job, this one included.
  // With a `keeper`, which outlives the object, workers of this host may share memory; then a lane
  // looks for work for `spin` before it sleeps.
  // In `snapshots` each lane keeps its chunks so that another process can go on with them; `adopt`:
  // this one goes on with those of another that has ended. Then throws Fault::checkpoint or
  // Fault::network if that cannot be done.
  struct Snapshots {
    cluster::KeeperClient* keeper = nullptr;  // null: none are kept; outlives the object
    bool adopt = false;
  };
  void open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
            cluster::KeeperClient* keeper, Duration spin, Snapshots snapshots);
  void open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
            cluster::KeeperClient* keeper = nullptr, Duration spin = {}) {
    open(std::move(layout), servers, keeper, spin, {});
  }
  // Checkpoints are written from now on. After open(), before run().
  void checkpoint_into(const CheckpointOptions& options);
  // Each lane writes its history to a file of this folder, which is made. `first` is
  // the step that the job begins at. After open(), before run(). Throws Fault::data.
  void trace_into(const std::filesystem::path& folder, std::uint32_t incarnation, Step first);
  // Begins where a checkpoint ends. It is read while run() runs, which throws Fault::checkpoint if
  // it is damaged. After open(), before run(), once; `disk` outlives the object.
  void restore(checkpoint::Disk& disk, const std::filesystem::path& folder,
               checkpoint::Manifest manifest);
  // Each chunk is saved when it is at that version, at which the job may `end`. The answer comes
  // from another thread: false if one has passed it; then it is to be abandoned. After
  // checkpoint_into().
  void checkpoint_at(Version version, bool end, std::function<void(bool in_time)> answer);
  void abandon_checkpoint(Version version);
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
  // The step that the fastest lane is at. REQUIRES: opened, and run() is not running.
  Step step() const;
  // Who is waited for; empty if nobody, or if a lane does not say within `limit`. Thread-safe while
  // run() is running.
  wire::Waiting waiting_for(Duration limit);

  Lane& lane(std::size_t index) { return *lanes_[index]; }

 private:
  std::array<std::span<float>, 2> share_parameters(cluster::KeeperClient& keeper, bool adopt);
  Snapshot snapshot(const ShardParts& parts, const Snapshots& snapshots);
  void spread(std::uint32_t from_lane, Step step, std::uint32_t chunk, double value);

  ServerOptions options_;
  cluster::Shutdown& shutdown_;
  params::Layout layout_;
  net::SharedMemory parameters_;  // two vectors, if the host shares them
  std::vector<net::SharedMemory> snapshots_;
  std::unique_ptr<params::ChunkMap> chunks_;
  std::unique_ptr<params::ShardMap> shards_;
  checkpoint::Manifest restored_;            // where it began, if at a checkpoint
  std::vector<checkpoint::Reader> readers_;  // one for each lane
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::unique_ptr<ScalarLinks> links_;          // only if scalars are needed
  std::unique_ptr<Checkpointer> checkpointer_;  // only if checkpoints are written; calls the lanes
};

}  // namespace sheaf::server
