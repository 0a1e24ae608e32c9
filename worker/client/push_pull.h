// The worker's side of the exchange with all lanes of all servers: a thin shell around one Exchange
// per lane. With lanes of this host it goes through shared memory, from the compute thread itself;
// with others through sockets, where one thread per lane index moves bytes straight from and to
// the memory below.
//
// What is exchanged lies in its ExchangeMemory; what is pushed stays valid until the wait that
// settles it. Every wait ends with the job; its error names what was waited for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/stopwatch.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "common/compression/compressor.h"
#include "common/net/handshake_io.h"
#include "common/net/spin.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
#include "common/wire/messages.h"
#include "worker/client/exchange_memory.h"

namespace sheaf::worker {

class LaneClient;
class SharedLane;

class PushPull {
 public:
  struct Options {
    std::uint32_t partitions = 1;
    PartitionRange hosted;
    std::uint32_t window = 8;
    std::size_t workspaces = 1;       // that are pushed from, and the bytes of each
    std::size_t workspace_bytes = 0;  // 0: the parameters as floats
    bool synchronous = true;          // all workers read the same versions
    // Who has a version is sent the encoded difference to the next one. REQUIRES: synchronous.
    bool pull_feedback = false;
    std::uint64_t seed = 0;  // of the run, for compressors of pulls that draw
    // To share memory with servers of this host: its keeper, and what their roster calls this host.
    cluster::KeeperClient* keeper = nullptr;
    std::string host_id;
    Duration spin{};  // before the compute thread sleeps in a wait, if it shares memory
    Duration dead_limit = std::chrono::seconds(10);
    // How long a connection that is lost is tried to be made again; 0: not at all. With a lane that
    // shares memory it is the server that is lost.
    Duration rejoin_limit{0};
    // Another server takes the place of one that is lost, and says where it is: moved(). Until a
    // step is acknowledged all that was pushed for it stays, to be sent again.
    bool servers_return = false;
    Duration share_limit = std::chrono::minutes(1);     // for a server to map shared memory
    Duration stall_warning = std::chrono::seconds(10);  // a wait this long is said aloud
    net::Credentials credentials;
    std::function<void(const std::string&)> warn;
  };
  // Computes and pushes, for one chunk of one step, each of `missing` by itself.
  using Resend =
      std::function<void(Step step, std::uint32_t chunk, std::span<const std::uint32_t> missing)>;

  // Everything borrowed outlives the object.
  PushPull(Options options, const params::ChunkMap& chunks, const params::ShardMap& shards,
           const compression::Compressor& pull, cluster::Shutdown& shutdown);
  ~PushPull();

  // Connects to every lane and proves the key; shares memory where it can. Servers that are gone
  // meanwhile are waited for as later (rejoin_limit); one without ports has no process yet. Throws
  // Fault::network or Fault::auth; when the job ends, at once.
  void connect(const std::vector<wire::ProcessInfo>& servers);
  // A server of that id is at work there, in the place of one that has ended: connections are made
  // again, and what has no answer is sent again. Thread-safe; also before and during connect().
  void moved(const wire::ProcessInfo& server);
  // Uses a connection made elsewhere for one lane (tests). Its context runs in our threads.
  net::asio::io_context& context(std::uint32_t lane);
  void adopt(params::LaneId lane, net::Connection connection);
  // Starts the threads. Connections exist for all lanes.
  void start();
  // Ends the threads and all connections; whatever was under way, no buffer of the caller is
  // touched any more. Nothing can be asked for afterwards but the figures.
  void stop();
  // Who answers when a server asks for single partitions. Called from within wait_settled().
  void on_resend(Resend resend) { resend_ = std::move(resend); }

  // Memory that push() reads. After start().
  std::span<std::byte> workspace(std::size_t index) const { return memory_.workspace(index); }
  std::size_t workspaces() const { return options_.workspaces; }
  // What was pulled at a clock, once it has arrived; valid until clock + 2 is asked for. In bsp the
  // clock is the version.
  std::span<const float> parameters(Step clock) const { return memory_.parameters(clock); }
  // How many lanes share memory with this worker.
  std::size_t shared_lanes() const;

  // ---- requests of the compute thread: none blocks, copies or (in the steady state) allocates

  void init(std::span<const float> parameters);
  // One chunk of the sum over a set of partitions, encoded.
  // `needed_back`: its memory is written again before the step is over.
  void push(Step step, std::uint32_t chunk, PartitionRange node, std::uint64_t examples,
            std::span<const std::byte> payload, bool needed_back = false);
  void end(Step step, PartitionRange node, std::uint64_t examples);
  // Asks for one chunk as of `clock` finished steps.
  void pull(Step clock, std::uint32_t chunk);
  // The same for a chunk that has arrived at this clock: what is there now, instead.
  void pull_again(Step clock, std::uint32_t chunk);
  // Sends what was asked for: a lane is woken once for many chunks. end() and every wait do it,
  // too.
  void flush();

  // ---- waits of the compute thread

  // Until all chunks that touch [begin, end) of the vector have arrived at `clock`.
  void wait_arrived(std::size_t begin, std::size_t end, Step clock);
  // The version of a chunk that arrived last.
  Version version(std::uint32_t chunk) const;
  // Whether its server had a newer one when it sent that.
  bool is_superseded(std::uint32_t chunk) const;
  // Until every push, end and init so far is acknowledged. A push through shared memory is when its
  // step has been applied: then this is where a worker waits for the others.
  void wait_settled();
  // Until that is so and every chunk has arrived at `clock`. False at `until`, or when nudge() has
  // been called since the last time.
  bool wait_over(Step clock, TimePoint until);
  // There is something else to do for the compute thread. Thread-safe.
  void nudge();
  // Whether every chunk has arrived at `clock`.
  bool all_arrived(Step clock);

  // From the compute thread, or when the exchange has stopped.
  wire::Traffic traffic() const;
  // Seconds the compute thread has waited so far.
  double waited_seconds() const { return waited_.wall; }
  // The same on both clocks: a wait that spins works, too.
  const Elapsed& waited() const { return waited_; }
  // Seconds from the first push of each step to the arrival of the last chunk, summed. Thread-safe.
  double exchange_seconds() const;

 private:
  friend class LaneClient;
  friend class SharedLane;
  struct Partial {
    Step step;
    std::uint32_t chunk;
    std::vector<std::uint32_t> missing;
  };
  enum class Awaited : std::uint8_t { parameters, acknowledgements };
  // False at `until`, or when it was nudged: asked only where there is such a time.
  template <typename Ready>
  bool wait(Awaited awaited, Ready ready, std::optional<TimePoint> until = std::nullopt);
  bool settle(std::optional<TimePoint> until);
  bool is_at(Step clock) const;
  template <typename Body>
  void for_shared(Body body) const;
  void arrived(std::uint32_t chunk, Step clock, Version version);
  void superseded(std::uint32_t chunk);
  void settled();
  void partial(Partial partial);
  std::size_t lane_of(std::uint32_t chunk) const { return shards_.index(shards_.at(chunk)); }
  bool poll_shared();
  std::string oldest() const;  // the request that has waited longest, in words
  wire::ProcessInfo server_of(const LaneClient& client) const;
  net::Task<void> join(LaneClient& client);
  net::Task<void> share(LaneClient& client);
  net::Task<void> reach(LaneClient& client);
  bool can_rejoin(const LaneClient& client) const;
  void require_same_host(const LaneClient& client) const;
  net::Task<void> rejoin(LaneClient& client);
  void close_connections();
  void throw_if_ended(std::string_view doing, std::string_view what) const;

  Options options_;
  const params::ChunkMap& chunks_;
  const params::ShardMap& shards_;
  const compression::Compressor& pull_;
  cluster::Shutdown& shutdown_;
  Resend resend_;
  net::Spin spin_;
  Elapsed waited_;
  std::atomic<bool> nudged_{false};

  ExchangeMemory memory_;

  mutable std::mutex mutex_;
  std::vector<Step> arrived_;      // guarded: 1 + the newest clock of each chunk here; 0 = none
  std::vector<Version> versions_;  // guarded: that arrived last, of each chunk
  std::vector<bool> superseded_;   // guarded: what arrived last, of each chunk
  std::uint64_t unsettled_ = 0;    // guarded: pushes, ends and inits without an answer
  std::vector<Partial> partials_;  // guarded
  std::uint64_t awaited_ = 0;      // guarded: pulls without an answer
  bool exchanging_ = false;        // guarded: a push has begun an exchange
  TimePoint exchange_began_{};     // guarded
  Duration exchanged_{0};          // guarded

  std::vector<wire::ProcessInfo> servers_;                        // guarded: the newest of each
  std::vector<std::unique_ptr<net::asio::io_context>> contexts_;  // one per lane index
  std::vector<std::unique_ptr<LaneClient>> clients_;              // by ShardMap::index
  std::vector<std::unique_ptr<SharedLane>> shared_;               // by ShardMap::index; null = none
  std::unique_ptr<cluster::Shutdown::Subscription> on_end_;
  std::vector<std::jthread> threads_;
  bool connects_ = false;  // by itself; set before the threads start, as is the next
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace sheaf::worker
