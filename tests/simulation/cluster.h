// The inside of the simulation: what all its processes share. Time, the network with its
// connections, the disk and memory that outlive a process, and the faults. Everything happens in
// one thread.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/checkpoint/manifest.h"
#include "common/compression/error_feedback.h"
#include "common/params/partition_tree.h"
#include "common/params/shard_map.h"
#include "launcher/coordinator/restarts.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/server/shard/shard_job.h"
#include "tests/simulation/events.h"
#include "tests/simulation/process.h"
#include "tests/simulation/simulation.h"

namespace sheaf::simulation {

inline constexpr Milliseconds kTick = 400;            // how often workers look for lost frames
inline constexpr Milliseconds kPatience = 900;        // before a frame is sent again
inline constexpr Milliseconds kStandstill = 1000000;  // without any worker beginning a step
// A job starts with pauses of up to a minute in between, and leases of ten seconds.
inline constexpr Milliseconds kBeat = 1000, kSuspect = 5000, kDead = 10000, kStart = 60000;
inline constexpr const char* kCheckpoints = "/run/checkpoints";

class Channel;
class Coordinator;
class LaneServer;
class ServerProcess;
class Talker;
class Worker;

// A frame as bytes on their way.
using Bytes = std::vector<std::byte>;
Bytes to_bytes(wire::OutFrame& frame);
// The receiving half of a FrameChannel. Returns the payload.
std::span<const std::byte> open_frame(const Bytes& bytes, wire::Header& header);

// What the pushes of a partition have left out, in memory of its host, and the step since which
// nothing of that was lost.
struct KeptResiduals {
  std::span<std::byte> memory;
  Step since = 0;
};

// One connection of a worker to a lane. Frames of a connection that has been replaced get lost.
struct Session {
  Worker* worker = nullptr;
  std::size_t lane = 0;
  LaneServer* server = nullptr;
  bool closed = false;
};

class Cluster {
 public:
  explicit Cluster(const Options& o);
  ~Cluster();

  Outcome run();

  // ---- time and network
  Milliseconds now() const { return events.now(); }
  // What happens in a process: not when it has been killed; when it goes on, if it is stopped.
  void in(Process& process, std::function<void()> body);
  // The same later: of what may come in any order, and of what the coordinator and the rest say to
  // each other.
  void later(Milliseconds delay, Process& process, std::function<void()> body);
  void control(Process& process, std::function<void()> body);
  // To the coordinator of this attempt.
  void report(Process& from, std::function<void(Coordinator&)> body);
  // Delivers `action` after a random delay, perhaps twice, perhaps (if it may get lost) never.
  void transmit(Process& to, bool may_be_lost, const std::function<void()>& action);
  Milliseconds random_delay() { return 1 + random.next() % options.delay; }
  // What is acknowledged when it is committed, with all that others push, waits for no credit.
  std::uint32_t window() const {
    const bool late = (options.snapshot || options.replicas) && promised->synchronous();
    const bool unlimited = late && options.mutant != Mutant::tight_window;
    return unlimited ? std::numeric_limits<std::uint32_t>::max() : options.window;
  }
  std::uint32_t chance(std::uint32_t of) { return random.next() % of; }
  void note(std::uint64_t what);  // into the hash of the course

  // ---- connections
  LaneServer* lane(std::size_t index);  // of the process that has its place now; null: none
  ServerProcess* newest_server(std::uint32_t id) const;  // the same
  Channel& new_channel(Process& caller, Talker& calling, Process& called, Talker& answering);
  void connect(Worker& worker, std::size_t lane, std::uint64_t knock);
  server::SessionId new_session(Worker& worker, std::size_t lane, LaneServer* server);
  void close(server::SessionId session);
  // A server has connected to all others: all say again what somebody may lack.
  void share_scalars();

  // ---- what workers have done
  void on_added(const server::TraceEvent& event);
  void on_begun(Step step) {
    newest_step = std::max(newest_step, step);
    progressed = now();
  }

  // ---- a coordinated job
  void start_worker(std::uint32_t id, std::uint32_t incarnation);
  void start_server(std::uint32_t id, std::uint32_t incarnation);
  // Memory of a host, which outlives who uses it.
  std::span<std::byte> allocate(std::size_t bytes);
  // Everything ends; the job goes on from its newest checkpoint.
  void restart();
  void on_killed(Process& process);
  void complete() { complete_ = true; }

  const Options options;
  const params::Layout all;
  const params::ChunkMap chunks;
  const params::ShardMap shards;
  const params::PartitionTree tree;
  std::unique_ptr<server::Gate> promised;  // what is asked for; what is simulated may be a mutant
  std::unique_ptr<server::Gate> gate;
  const optimization::Schedule rate{kRate, 0};
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  Stream random;
  Events events;
  Milliseconds progressed = 0;
  Step newest_step = 0;
  Outcome outcome;
  std::map<std::uint32_t, std::set<std::pair<Step, std::uint32_t>>> added;  // by chunk

  checkpoint::VirtualDisk disk;
  std::vector<AlignedBuffer<std::byte>> memory;  // all that there ever was
  std::vector<std::span<std::byte>> snapshots;   // by lane, on the host of who had it last
  std::map<std::pair<std::uint32_t, std::uint32_t>, KeptResiduals> residuals;  // attempt, partition
  std::optional<checkpoint::Manifest> resumed;                                 // of this attempt
  std::uint32_t attempt = 0;
  std::uint32_t newest_incarnation = 0;
  std::optional<Version> announced;  // the newest checkpoint that anybody may count on
  launcher::Restarts budget{1000};

  std::vector<std::unique_ptr<ServerProcess>> servers;  // all that there ever were
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Coordinator>> coordinators;
  std::vector<Session> sessions;

 private:
  void build();
  void tick();
  void fault();  // without a coordinator
  void loss();   // with one
  void begin_attempt();
  void choose_checkpoint();
  void check_last_checkpoint();
  void check_books();
  Step clock_of(const std::set<std::uint32_t>& partitions);
  bool over() const;
  void note_versions();
  void gather();
  [[noreturn]] void standstill() const;

  std::map<std::uint32_t, ServerProcess*> server_at_;
  std::vector<std::unique_ptr<Channel>> channels_;  // all that there ever were
  std::uint32_t faults_left_ = 0;
  std::uint32_t losses_left_ = 0;
  bool complete_ = false;
};

}  // namespace sheaf::simulation
