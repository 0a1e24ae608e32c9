#include "launcher/rank.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/cluster/control_link.h"
#include "common/cluster/keeper.h"
#include "common/math/blas.h"
#include "launcher/build_identity.h"
#include "launcher/checkpoints.h"
#include "launcher/host.h"
#include "launcher/keeper_process.h"
#include "launcher/process_identity.h"
#include "launcher/readable.h"
#include "launcher/roles.h"
#include "worker/data/digest.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

wire::Digest digest_of_hex(const std::string& hex) {
  return wire::JobKey::from_hex(hex).bytes();  // 64 hexadecimal digits, like a key
}

wire::Finished resources() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto to_seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  wire::Finished report;
  report.cpu_seconds = to_seconds(usage.ru_utime) + to_seconds(usage.ru_stime);
  report.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return report;
}

// What both roles need, and the phase that an error names.
struct Rank {
  const RunConfig& config;
  const Seat& seat;
  net::Credentials credentials;
  cluster::Shutdown shutdown;
  cluster::ControlLink link;
  std::string phase = "connecting to the coordinator";

  Rank(const RunConfig& c, const Seat& s)
      : config(c),
        seat(s),
        credentials(make_credentials(c, s.key, s.process, s.incarnation)),
        link({credentials, s.coordinator, c.timeouts().beat, c.timeouts().dead, c.timeouts().start},
             shutdown) {}

  wire::Registration registration() const {
    wire::Registration r;
    r.info.process = seat.process;
    r.info.incarnation = seat.incarnation;
    const ProcessIdentity self = identify(::getpid()).value();
    r.info.pid = static_cast<std::uint32_t>(self.pid);
    r.info.started = self.start_ticks;
    r.info.host = host_name();
    r.info.host_id = host_identity();
    r.numerics = fmt::format("{}, {} BLAS threads", numerics_text(), config.run().blas_threads);
    return r;
  }

  std::function<void(const std::string&)> warn() {
    return [this](const std::string& text) { link.log(text, true); };
  }

  bool uses_keeper() const {
    return config.shares_memory() ||
           (config.keeps_snapshots() && seat.process.role == Role::server);
  }

  // The way to the memory that the host shares, if there is a server and a worker to share it.
  std::unique_ptr<cluster::KeeperClient> keeper(const std::vector<wire::ProcessInfo>& roster) {
    if (!uses_keeper()) return nullptr;
    bool roles[2] = {};
    for (const wire::ProcessInfo& other : roster) {
      if (other.host_id == host_identity())
        roles[other.process.role == Role::server ? 0 : 1] = true;
    }
    const bool keeps = seat.process.role == Role::server && config.keeps_snapshots();
    if (!keeps && (!roles[0] || !roles[1])) return nullptr;
    try {
      return std::make_unique<cluster::KeeperClient>(credentials, config.timeouts().start);
    } catch (const Error& error) {
      link.log(fmt::format("shares no memory: {}", error.message()), true);
      return nullptr;
    }
  }

  Duration spin(const std::vector<wire::ProcessInfo>& roster) const {
    return spin_on_host(roster, config.run().blas_threads, config.network().lanes);
  }

  static bool has_worker_here(const std::vector<wire::ProcessInfo>& roster) {
    return std::ranges::any_of(roster, [](const wire::ProcessInfo& other) {
      return other.process.role == Role::worker && other.host_id == host_identity();
    });
  }

  // What to tell the coordinator. Where another rank is at fault, the coordinator says the phase.
  wire::Failure failure(const std::exception_ptr& error) const {
    const auto [fault, text] = describe(error);
    wire::Failure failure{seat.process, static_cast<int>(fault), where(), text};
    try {
      std::rethrow_exception(error);
    } catch (const cluster::PeerFault& peers) {
      failure.process = peers.peer();
      failure.phase.clear();
    } catch (...) {
    }
    return failure;
  }

  std::string where() const {
    if (phase == "training" && link.begun() > 0) {
      return fmt::format("training step {}", link.begun() - 1);
    }
    return phase;
  }
};

// What the coordinator asks of a server; it is kept until the server can do it.
class Orders {
 public:
  explicit Orders(Rank& rank) : rank_(rank) {
    rank_.link.on_checkpoint(
        [this](const wire::CheckpointAt& order) { take([this, order] { save(order); }); });
    rank_.link.on_clock([this](const wire::PartitionClock& question) {
      take([this, question] { say_clock(question); });
    });
  }
  ~Orders() {
    rank_.link.on_waiting({});
    rank_.link.on_clock({});
    rank_.link.on_checkpoint({});
  }

  void open(server::Server& server) {
    constexpr Duration kAnswer = std::chrono::milliseconds(200);  // of each lane
    rank_.link.on_waiting([&server] { return server.waiting_for(kAnswer); });
    const std::lock_guard lock(mutex_);
    server_ = &server;
    for (const auto& order : std::exchange(early_, {})) order();
  }

 private:
  void take(std::function<void()> order) {
    const std::lock_guard lock(mutex_);
    if (server_ == nullptr) return early_.push_back(std::move(order));
    order();
  }
  void say_clock(wire::PartitionClock question) {
    server_->clock({question.first, question.count}, [&link = rank_.link, question](Step step) {
      link.answer(wire::PartitionClock{question.first, question.count, step});
    });
  }
  void save(const wire::CheckpointAt& order) {
    if (order.abandoned) return server_->abandon_checkpoint(order.version);
    const bool writes = server_->writes_checkpoints();
    const auto answer = [&link = rank_.link, order, writes](bool in_time) {
      link.answer(wire::CheckpointAnswer{order.version, in_time, writes});
    };
    server_->checkpoint_at(order.version, order.end, answer);
  }

  Rank& rank_;
  std::mutex mutex_;
  server::Server* server_ = nullptr;          // guarded
  std::vector<std::function<void()>> early_;  // guarded
};

void open_checkpoints(Rank& rank, server::Server& server, checkpoint::Disk& disk,
                      const wire::Start& start) {
  const auto on_done = [&link = rank.link](Version version,
                                           std::optional<checkpoint::WrittenFile> written,
                                           const std::string& error) {
    wire::Saved saved;
    saved.version = version;
    saved.error = error;
    if (written) saved = saved_message(version, *written);
    link.saved(saved);
  };
  server.checkpoint_into({disk, start.checkpoints, rank.config.run().name, host_name(), on_done});
  if (start.predecessor.pid != 0) return;  // what is ordered it has been told before
  if (start.manifest.empty()) {  // it will be ordered; until then nobody may go on behind it
    return server.checkpoint_at(0, false, [](bool) {});
  }
  server.restore(disk, start.checkpoints, checkpoint::manifest_from_text(start.manifest));
}

// Sees to it that this host has a keeper, which ends with us unless memory is to outlive us.
struct HostKeeper {
  std::unique_ptr<cluster::Keeper> own;
  std::optional<ProcessIdentity> process;

  explicit HostKeeper(Rank& rank) {
    const RunConfig& c = rank.config;
    if (!c.keeps_snapshots()) {
      if (c.shares_memory()) own = cluster::Keeper::start(rank.credentials, c.timeouts().dead);
      return;
    }
    try {
      // Without anybody it waits for a successor, and as long again for one after that.
      process = start_keeper(rank.credentials, c.timeouts().dead,
                             2 * (c.timeouts().dead + std::chrono::seconds(10)));
    } catch (const Error& error) {
      rank.link.log(error.message(), true);
    }
  }
};

// From here on nobody writes to what it has left, also if it was only stopped.
void end_predecessor(const wire::ProcessInfo& predecessor) {
  if (predecessor.host_id != host_identity()) {
    fail(Fault::network, "its predecessor was on {}", predecessor.host);
  }
  if (!end_process({static_cast<pid_t>(predecessor.pid), predecessor.started},
                   std::chrono::seconds(5))) {
    fail(Fault::network, "its predecessor (pid {}) does not end", predecessor.pid);
  }
}

// Only the chunks of this server: nothing here is another one's fault, and the job can go back.
void open_server(Rank& rank, server::Server& server, const wire::Start& start,
                 cluster::KeeperClient* keeper) {
  const RunConfig& c = rank.config;
  const bool adopt = start.predecessor.pid != 0;
  try {
    if (adopt) end_predecessor(start.predecessor);
    // Then parameters lie where they lay, whoever is here now.
    const bool shares = c.shares_memory() && (adopt || rank.has_worker_here(start.roster));
    server.open(start.layout, {start.roster.begin(), start.roster.begin() + c.run().servers},
                shares ? keeper : nullptr, rank.spin(start.roster),
                {.keeper = c.keeps_snapshots() ? keeper : nullptr, .adopt = adopt});
    if (adopt && keeper == nullptr) fail(Fault::network, "this host has no keeper");
  } catch (const Error& error) {
    if (!adopt) throw;
    fail(Fault::network, "it cannot go on where its predecessor has ended: {}", error.message());
  }
}

void end_keeper(const RunConfig& config, cluster::KeeperClient* keeper) {
  if (!config.keeps_snapshots() || keeper == nullptr) return;
  try {
    keeper->end();
  } catch (const Error&) {
    // Another server of this host has ended it.
  }
}

wire::Finished serve(Rank& rank) {
  const RunConfig& c = rank.config;
  // Before anybody is told of us, so that whoever knows the roster finds a keeper on each host.
  const HostKeeper keeper(rank);
  std::unique_ptr<cluster::KeeperClient> shared;  // these outlive the server
  checkpoint::PosixDisk disk;
  auto options = server_options(c, rank.seat.process.id, rank.credentials, rank.warn());
  options.skipped = [&rank](Step step) { rank.link.skipped(step); };
  server::Server server(std::move(options), rank.shutdown);

  Orders orders(rank);
  rank.phase = "binding its ports";
  const std::string address = c.network().interface == "auto"
                                  ? rank.link.local_address()
                                  : net::address_of_interface(c.network().interface, false);
  wire::Registration registration = rank.registration();
  for (const net::Endpoint& e :
       server.bind(address, {c.network().port_low, c.network().port_high})) {
    registration.info.address = e.address;
    registration.info.ports.push_back(e.port);
  }
  if (keeper.process) {
    registration.keeper_pid = static_cast<std::uint32_t>(keeper.process->pid);
    registration.keeper_started = keeper.process->start_ticks;
  }
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.link.enroll(registration);
  const bool adopts = start.predecessor.pid != 0;
  rank.phase = "opening its shard";
  shared = rank.keeper(start.roster);
  open_server(rank, server, start, shared.get());
  if (c.traces()) {
    const auto run = std::filesystem::path(start.checkpoints).parent_path();
    server.trace_into(run / "trace", rank.seat.incarnation, start.first_step);
  }
  open_checkpoints(rank, server, disk, start);
  if (adopts) rank.link.moved(registration.info);
  rank.link.log(fmt::format("holds its shard in at most {}, of that {} for checkpoints under way",
                            readable_bytes(server.memory_bound()),
                            readable_bytes(server.checkpoint_memory())),
                false);
  orders.open(server);
  rank.phase = "serving";
  server::ServerReport report;
  try {
    report = server.run();
  } catch (...) {
    const bool reading = describe(std::current_exception()).first == Fault::checkpoint;
    rank.phase =
        reading ? "reading the checkpoint" : fmt::format("training step {}", server.step());
    throw;
  }
  end_keeper(c, shared.get());
  wire::Finished finished = resources();
  finished.duplicates = report.duplicates;
  finished.dropped = report.dropped;
  finished.lane_pauses = report.lane_pauses;
  return finished;
}

// Tells the exchange of servers that have taken the place of others.
class Moves {
 public:
  Moves(Rank& rank, worker::PushPull& exchange) : rank_(rank) {
    rank.link.on_moved([&exchange](const wire::ProcessInfo& server) { exchange.moved(server); });
  }
  ~Moves() { rank_.link.on_moved({}); }
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;

 private:
  Rank& rank_;
};

wire::Finished work(Rank& rank) {
  const RunConfig& c = rank.config;
  rank.phase = "reading the schema of the data";
  WorkerRole role(c, rank.seat.process.id);

  wire::Registration registration = rank.registration();
  registration.data_digest = worker::data_digest(role.source());
  registration.layout = role.model().layout();
  registration.task = static_cast<std::uint32_t>(role.model().loss().task());
  registration.outputs = static_cast<std::uint32_t>(role.model().outputs());
  registration.targets = static_cast<std::uint32_t>(role.model().schema().targets);
  registration.steps_per_epoch = role.plan().steps_per_epoch();
  registration.steps = role.steps();
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.link.enroll(registration);

  rank.phase = "loading data";
  role.load([&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
    return rank.link.sum(tag, mine);
  });
  rank.link.log(fmt::format("hosts {}", readable_partitions(role.hosted())), false);

  rank.phase = "connecting to the servers";
  const auto shared = rank.keeper(start.roster);
  auto options = role.exchange_options(rank.credentials, rank.warn());
  options.keeper = shared.get();
  options.host_id = registration.info.host_id;
  if (shared) options.spin = rank.spin(start.roster);
  worker::PushPull exchange(std::move(options), role.chunks(), role.shards(), role.pull(),
                            rank.shutdown);
  exchange.connect({start.roster.begin(), start.roster.begin() + c.run().servers});
  exchange.start();
  const Moves moves(rank, exchange);

  rank.phase = "training";
  worker::Worker worker(role.parts(exchange, rank.link, rank.shutdown),
                        {.seed = c.run().seed,
                         .first = start.first_step,
                         .steps = role.steps(),
                         .prefetch = c.data().prefetch});
  const worker::WorkerReport report = worker.run();
  wire::Finished finished = resources();
  finished.steps = report.steps;
  finished.training_seconds = report.seconds;
  finished.exchange_seconds = exchange.exchange_seconds();
  finished.shared_lanes = static_cast<std::uint32_t>(exchange.shared_lanes());
  finished.lanes = static_cast<std::uint32_t>(role.shards().lane_count());
  finished.push_bytes = report.traffic.push_bytes;
  finished.pull_bytes = report.traffic.pull_bytes;
  finished.push_bytes_raw = report.traffic.push_bytes_raw;
  finished.pull_bytes_raw = report.traffic.pull_bytes_raw;
  rank.link.finished(finished);
  rank.phase = "waiting for the end of the job";
  rank.link.wait_for_end();
  return finished;
}

}  // namespace

wire::Identity make_identity(const RunConfig& config, ProcessId process,
                             std::uint32_t incarnation) {
  wire::Identity identity;
  identity.process = process;
  identity.incarnation = incarnation;
  identity.build = build_digest();
  identity.config = digest_of_hex(config.config_sha256());
  const std::string numerics = numerics_text();
  identity.numerics = wire::sha256(std::as_bytes(std::span(numerics)));
  return identity;
}

net::Credentials make_credentials(const RunConfig& config, const wire::JobKey& key,
                                  ProcessId process, std::uint32_t incarnation) {
  return {key, make_identity(config, process, incarnation),
          net::parse_encryption(config.network().encryption)};
}

std::uint32_t rank_of(const RunConfig& config, ProcessId process) {
  return (process.role == Role::server ? 0 : config.run().servers) + process.id;
}

int run_rank(const RunConfig& config, const Seat& seat) {
  math::set_blas_threads(static_cast<int>(config.run().blas_threads));
  Rank rank(config, seat);
  try {
    rank.link.connect();
    if (seat.process.role == Role::server) {
      rank.link.finished(serve(rank));
    } else {
      work(rank);
    }
    rank.link.close(config.timeouts().suspect);
    return 0;
  } catch (...) {
    const auto [fault, text] = describe(std::current_exception());
    if (!rank.link.stopped()) {  // else the coordinator has said why already
      std::cerr << fmt::format("sheaf: rank {} ({}, {}): {}\n", rank_of(config, seat.process),
                               to_string(seat.process), rank.where(), text)
                << std::flush;
      rank.link.fail(rank.failure(std::current_exception()));
      rank.shutdown.fail(std::current_exception());
    }
    rank.link.close(std::chrono::seconds(1));
    return static_cast<int>(fault);
  }
}

}  // namespace sheaf::launcher
