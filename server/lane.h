// One lane of a server: a thread's worth of connections and the shard behind them. The core that
// receives a push adds it, and at the last arrival runs the optimizer while the chunk is warm: no
// hand-off, no queue, no lock between lanes.
//
// Bind first (the address is announced), open once the layout is known, then run in one thread.
// Only run()'s thread touches the rest, but for what is said to be thread-safe.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "common/net/frame_channel.h"
#include "common/net/handshake_io.h"
#include "common/net/spin.h"
#include "server/backup_link.h"
#include "server/entrance.h"
#include "server/replica/replica.h"
#include "server/shard/shard.h"

namespace sheaf::server {

class Checkpointer;
class ReplicaSession;
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
    // So many chunks, all of the lane, have been released with noise; may be empty.
    std::function<void(Step, std::uint32_t chunks, const wire::Digest&)> released;
    // Takes over a connection for scalars from another server; empty = none is expected here.
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
  // Another server keeps a replica of this lane, with which it may begin: nobody is served before
  // that is done. After open(), before run(), which fails if it cannot be done.
  void back_up(BackupLink::Options options);
  // Keeps a replica of the same lane of another server, which is of that incarnation or newer.
  // Before run().
  void keep_replica(const wire::ProcessInfo& server, const Replica::Parts& parts, bool whole);
  // Another process is at work as that server. Thread-safe.
  void moved(const wire::ProcessInfo& server);
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
  // pulls wait meanwhile; not behind what a backup gives, which may lack what workers have read.
  // After back_up(), before run(), which throws what `read` throws.
  void restore(Version version, Shard::ReadChunk read);
  // Serves a worker over a connection made and proved elsewhere. Before run(), or from its thread.
  void adopt(net::Connection connection, ProcessId worker, std::uint32_t incarnation = 0);
  // Serves until the shutdown ends or a session breaks the rules; returns when all is closed.
  void run();
  net::asio::io_context& context() { return context_; }

  // A scalar of another lane. Thread-safe.
  void add_scalar(Step step, std::uint32_t chunk, double value);
  // Somebody may lack what was shared: it is said again. Thread-safe.
  void share_scalars();
  // To wait for other servers' scalars. Before run().
  void set_scalar_limit(Duration limit) { options_.scalar_limit = limit; }
  // For reports; call after run() has returned, or from its thread.
  const Shard& shard() const { return *shard_; }
  // How many steps of each of these partitions every chunk has, once what is restored is there and
  // the shard knows its clocks: the largest number there is without chunks. Thread-safe; the answer
  // comes from the lane's thread.
  void clock(PartitionRange partitions, std::function<void(Step)> answer);
  // From now on only that incarnation of a worker, or a newer one, gets a word in. Thread-safe.
  void fence(std::uint32_t worker, std::uint32_t incarnation);
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
  void backup_waits() override;
  void backup_answered() override;
  void released(Step step, const wire::Digest& digest) override;

 private:
  friend class Session;
  void in_thread(std::function<void()> body);
  void restore_from(std::size_t n, Version version, Shard::ReadChunk read);
  net::Task<void> watch_scalars();
  void enter(net::Connection connection, const wire::Identity& peer);
  void adopt_primary(net::Connection connection, ProcessId primary);
  void end(Session& session);
  void take_leave(const Session& session);
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
  std::unique_ptr<Shard> shard_;
  std::vector<std::unique_ptr<Session>> sessions_;  // by SessionId; null = free
  // By SessionId less kShared; null = gone. Those of workers that have left stay for as long as
  // what they lent is read.
  std::vector<std::unique_ptr<SharedSession>> shared_;
  std::vector<SharedSession*> polled_;  // of workers that are here
  std::vector<SessionId> departed_;     // of those that are not
  std::unique_ptr<BackupLink> backup_;
  std::map<std::uint32_t, Replica> replicas_;  // by server
  std::vector<std::unique_ptr<ReplicaSession>> primaries_;
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
  Door door_;
  std::optional<Entrance> entrance_;
  net::asio::steady_timer watch_;
  std::vector<std::function<void()>> questions_;  // until the shard knows its clocks
  bool restoring_ = false;
  bool opens_late_ = false;                // steps may be pushed of what it has not got yet
  std::function<void()> begin_restoring_;  // when the backup has given what it has
  bool closing_ = false;
  // What has been released of a step.
  std::uint32_t chunks_ = 0;  // of the lane
  std::uint32_t released_chunks_ = 0;
  Step releasing_ = 0;
  wire::Digest release_digest_{};
};

}  // namespace sheaf::server
