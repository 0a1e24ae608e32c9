// One lane of a server: a thread's worth of connections and the shard behind them. The core that
// receives a push adds it, and at the last arrival runs the optimizer while the chunk is warm: no
// hand-off, no queue, no lock between lanes.
//
// Bind first (the address is announced), open once the layout is known, then run in one thread.
// Only run()'s thread touches the rest; stop() and add_scalar() may be called from any.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "common/net/frame_channel.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "common/net/spin.h"
#include "server/shard/shard.h"

namespace sheaf::server {

class Checkpointer;
class Session;
class SharedSession;

class Lane final : public ShardOutput {
 public:
  struct Options {
    std::uint32_t id = 0;       // of the lane
    std::uint32_t workers = 1;  // of the job
    std::uint32_t servers = 1;
    net::Credentials credentials;  // self.lane is filled in here
    Duration handshake_limit{};    // for a stranger to prove the key
    Duration silence_limit{};      // for unacknowledged data
    // Sends one scalar to the other lanes of this server and to other servers.
    std::function<void(Step, std::uint32_t chunk, double)> share_scalar;
    Duration scalar_limit{};            // to wait for other servers' scalars
    std::function<void(Step)> skipped;  // a step was left out; may be empty
    // Takes over a connection from another server; empty = none is expected here.
    std::function<void(net::Connection, ProcessId)> on_server;
    std::function<void(const std::string&)> warn;
  };

  Lane(Options options, cluster::Shutdown& shutdown);
  ~Lane() override;

  net::Endpoint bind(const std::string& address, net::PortRange ports);
  void open(const ShardParts& parts);
  // From now on workers of this host may share memory. `keeper` outlives the lane; `lanes` counts
  // those of the job; answers are written into so many bytes of each worker's memory, unless it
  // reads parameters where they lie (0). Looks for work for `spin` before it sleeps. Before run().
  void share(cluster::KeeperClient& keeper, std::size_t lanes, std::size_t incoming, Duration spin);
  // Where chunks go that a checkpoint wants; it outlives run(). Before run().
  void save_to(Checkpointer& checkpointer) { checkpointer_ = &checkpointer; }
  // Writes what happens to its chunks to a file. Before run(). Throws Fault::data.
  void trace_to(const std::filesystem::path& file, const TraceHead& head);
  // It is whole. After run().
  void end_trace(std::size_t traces);
  // From its thread: whether every chunk will be saved at that version. Thread-safe.
  void checkpoint_at(Version version, bool end, std::function<void(bool)> answer);
  // There is room for what waits to be saved. Thread-safe.
  void on_room();
  // Begins where a checkpoint ends, chunk by chunk from its own thread: connections are made and
  // pulls wait meanwhile. Before run(), which throws what `read` throws.
  void restore(Version version, Shard::ReadChunk read) {
    restoring_ = true;
    restore_from(0, version, std::move(read));
  }
  // Serves a worker over a connection made and proved elsewhere. Before run(), or from its thread.
  void adopt(net::Connection connection, ProcessId worker, std::uint32_t incarnation = 0);
  // Serves until the shutdown ends or a session breaks the rules; returns when all is closed.
  void run();
  net::asio::io_context& context() { return context_; }

  // A scalar of another lane. Thread-safe.
  void add_scalar(Step step, std::uint32_t chunk, double value);
  // For reports; call after run() has returned, or from its thread.
  const Shard& shard() const { return *shard_; }
  // How many steps of each of these partitions every chunk has, once what is restored is there: the
  // largest number there is without chunks. Thread-safe; the answer comes from the lane's thread.
  void clock(PartitionRange partitions, std::function<void(Step)> answer);
  // Of each checkpoint, the newest ones: the longest time that was spent copying chunks for it
  // between two looks at sockets and rings. After run().
  const std::vector<Duration>& checkpoint_pauses() const { return pauses_; }
  // Who is waited for. Thread-safe; the answer comes from the lane's thread within `limit`.
  wire::Waiting waiting_for(Duration limit);

  // ShardOutput
  void reply(SessionId session, wire::OutFrame frame) override;
  Payload payload_for(SessionId session) const override;
  void share_scalar(Step step, std::uint32_t chunk, double value) override;
  std::span<float> checkpoint_room(std::size_t floats) override;
  void checkpoint(Version version, std::uint32_t chunk, std::span<float> room) override;
  void note(const TraceEvent& event) override;
  void skipped(Step step) override;

 private:
  friend class Session;
  void in_thread(std::function<void()> body);
  void restore_from(std::size_t n, Version version, Shard::ReadChunk read);
  net::Task<void> accept_loop();
  net::Task<void> receive(net::Connection connection);
  net::Task<void> watch_scalars();
  wire::Verdict admit(const wire::Identity& client);
  void on_closed(Session& session, std::exception_ptr error);
  void close_all();
  void loop();
  bool poll_shared();
  void release_departed();
  void await_wake();
  wire::ShareStatus open_shared(Session& session, const wire::Header& header);

  Options options_;
  cluster::Shutdown& shutdown_;
  net::asio::io_context context_;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<Shard> shard_;
  std::vector<std::unique_ptr<Session>> sessions_;  // by SessionId; null = free
  // By SessionId less kShared; null = gone. Those of workers that have left stay for as long as
  // what they lent is read.
  std::vector<std::unique_ptr<SharedSession>> shared_;
  std::vector<SharedSession*> polled_;  // of workers that are here
  std::vector<SessionId> departed_;     // of those that are not
  Checkpointer* checkpointer_ = nullptr;
  TimePoint copy_began_{};
  Duration copying_{0};  // since the last look at sockets and rings
  std::optional<Version> paused_for_;
  std::vector<Duration> pauses_;  // the last one is of paused_for_
  std::ofstream trace_;
  cluster::KeeperClient* keeper_ = nullptr;
  std::size_t lanes_of_job_ = 0;
  std::size_t incoming_bytes_ = 0;  // of each worker that shares memory
  net::Spin spin_;
  net::EventDescriptor wake_;  // rung by workers that share memory
  std::uint64_t wake_count_ = 0;
  std::size_t strangers_ = 0;  // connections that have not proved the key yet
  std::size_t refused_ = 0;
  std::vector<std::uint32_t> incarnations_;  // newest seen of each worker
  net::asio::steady_timer watch_;
  bool restoring_ = false;
  bool closing_ = false;
};

}  // namespace sheaf::server
