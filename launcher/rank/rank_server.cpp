// A rank that is a server: it opens its shard, at the beginning of a job, from a checkpoint or
// where its predecessor has ended, and serves until the end.
#include <unistd.h>

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/net/shared_memory.h"
#include "launcher/config/memory_plan.h"
#include "launcher/coordinator/checkpoints.h"
#include "launcher/rank/host_keeper.h"
#include "launcher/rank/rank_session.h"
#include "launcher/rank/roles.h"
#include "launcher/system/host.h"
#include "launcher/system/process_identity.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

// What the coordinator asks of a server; it is kept until the server can do it.
class Orders {
 public:
  explicit Orders(RankSession& rank) : rank_(rank) {
    rank_.link.on_checkpoint(
        [this](const wire::CheckpointAt& order) { take([this, order] { save(order); }); });
    rank_.link.on_base([this](const wire::CheckpointBase& base) {
      take([this, base] { server_->name_base(base.version, base.base); });
    });
    rank_.link.on_clock([this](const wire::PartitionClock& question) {
      take([this, question] { say_clock(question); });
    });
  }
  ~Orders() {
    rank_.link.on_waiting({});
    rank_.link.on_clock({});
    rank_.link.on_base({});
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
    // First: a lane takes what it is asked in turn, so what it answers stays true.
    server_->fence(question.worker, question.incarnation);
    server_->clock({question.first, question.count}, [&link = rank_.link, question](Step step) {
      wire::PartitionClock answer = question;
      answer.step = step;
      link.answer(answer);
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

  RankSession& rank_;
  std::mutex mutex_;
  server::Server* server_ = nullptr;          // guarded
  std::vector<std::function<void()>> early_;  // guarded
};

void open_checkpoints(RankSession& rank, server::Server& server, checkpoint::Disk& disk,
                      const wire::Start& start) {
  const auto on_done = [&link = rank.link](Version version, std::optional<checkpoint::Part> written,
                                           const std::string& error) {
    wire::Saved saved;
    saved.version = version;
    saved.error = error;
    if (written) saved = saved_message(version, *written);
    link.saved(saved);
  };
  server.checkpoint_into({disk, start.checkpoints, rank.config.run().name, host_name(), on_done});
  if (!start.manifest.empty()) {
    server.restore(disk, start.checkpoints, checkpoint::manifest_from_text(start.manifest));
  } else if (start.predecessor.pid == 0) {  // whoever has one was told what is ordered
    // It will be ordered; until then nobody may go on behind it.
    server.checkpoint_at(0, false, [](bool) {});
  }
}

// From here on nobody writes to what it has left, also if it was only stopped. On another host,
// from which its replica has been taken away, it can have nothing acknowledged any more.
void end_predecessor(const wire::Start& start) {
  const wire::ProcessInfo& predecessor = start.predecessor;
  if (predecessor.host_id != host_identity()) {
    if (!start.backups.empty()) return;
    fail(Fault::network, "its predecessor was on {}", predecessor.host);
  }
  if (!end_process({static_cast<pid_t>(predecessor.pid), predecessor.started},
                   std::chrono::seconds(5))) {
    fail(Fault::network, "its predecessor (pid {}) does not end", predecessor.pid);
  }
}

// Then the job can go back.
[[noreturn]] void fail_to_adopt(std::string_view why) {
  fail(Fault::network, "it cannot go on where its predecessor has ended: {}", why);
}

// Whether the ranks of this host have room for what they will need with snapshots. Nobody who has
// not asked for them is to run out of memory for their sake.
bool has_room_for_snapshots(RankSession& rank, const wire::Start& start) {
  const MemoryPlan plan = plan_parameter_memory(rank.config, start.layout.size(), true);
  std::uint64_t need = 0;
  for (const wire::ProcessInfo& other : start.roster) {
    if (other.host_id != host_identity()) continue;
    need += other.process.role == Role::server ? plan.server : plan.worker;
  }
  const std::uint64_t available = net::available_memory();
  if (need <= available - available / 8) return true;
  rank.link.log(
      fmt::format(
          "keeps no snapshot: this host has {} left, its ranks may need {} with snapshots; "
          "if this server is lost the job {} (recovery.snapshot = \"shm\" takes what there "
          "is)",
          readable_bytes(available), readable_bytes(need),
          start.backups.empty() ? "starts again from a checkpoint" : "goes on with its replica"),
      true);
  return false;
}

// Only the chunks of this server: nothing here is another one's fault.
void open_server(RankSession& rank, server::Server& server, const wire::Start& start,
                 cluster::KeeperClient* keeper, std::function<void()> on_adopted) {
  const RunConfig& c = rank.config;
  const bool adopt = start.predecessor.pid != 0;
  const bool same_host = start.predecessor.host_id == host_identity();
  try {
    if (adopt) end_predecessor(start);
    // Then parameters lie where they lay, whoever is here now. On a host that it is new to, nobody
    // shares memory with it.
    const bool shares =
        c.shares_memory() && (adopt ? same_host : rank.has_worker_here(start.roster));
    // Who takes another one's place goes on with what there is.
    const bool keeps = c.keeps_snapshots() && (adopt || !c.keeps_snapshots_if_there_is_room() ||
                                               has_room_for_snapshots(rank, start));
    server.open(start.layout, {start.roster.begin(), start.roster.begin() + c.run().servers},
                shares ? keeper : nullptr, rank.spin(start.roster),
                {.keeper = keeps ? keeper : nullptr,
                 .backups = start.backups,
                 .adopt = adopt,
                 .same_host = same_host,
                 .restores_rest = !start.manifest.empty(),
                 .on_adopted = std::move(on_adopted)});
    if (adopt && keeper == nullptr && start.backups.empty()) {
      fail(Fault::network, "this host has no keeper");
    }
    for (const wire::ProcessInfo& other : start.roster) {
      if (other.process.role == Role::worker) server.fence(other.process.id, other.incarnation);
    }
  } catch (const Error& error) {
    if (!adopt) throw;
    fail_to_adopt(error.message());
  }
}

// Of noise that steps share.
std::vector<privacy::NoiseBranch> branches_of(const wire::Start& start) {
  check(start.branch_steps.size() == start.branch_names.size(), "a name for each branch of noise");
  std::vector<privacy::NoiseBranch> branches;
  for (std::size_t i = 0; i < start.branch_steps.size(); ++i) {
    branches.push_back({start.branch_steps[i], start.branch_names[i]});
  }
  return branches;
}

}  // namespace

wire::Finished serve(RankSession& rank) {
  const RunConfig& c = rank.config;
  // Before anybody is told of us, so that whoever knows the roster finds a keeper on each host.
  std::optional<HostKeeper> keeper;
  if (c.memory_outlives() || c.shares_memory()) keeper.emplace(rank, c.memory_outlives());
  std::unique_ptr<cluster::KeeperClient> shared;  // these outlive the server
  checkpoint::PosixDisk disk;
  auto options = server_options(c, rank.seat.process.id, rank.credentials, rank.warn());
  options.skipped = [&rank](Step step) { rank.link.skipped(step); };
  if (c.make_mechanism()->perturbs_at_server()) {
    options.released = [&rank](Step step, std::uint32_t lane, std::uint32_t chunks,
                               const wire::Digest& digest) {
      rank.link.lane_released(step, lane, chunks, digest);
    };
  }
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
  if (keeper) keeper->announce(registration);
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.enroll(registration);
  const bool adopts = start.predecessor.pid != 0;
  rank.phase = "opening its shard";
  if (const auto mechanism = c.make_mechanism(); mechanism->perturbs_at_server()) {
    const wire::JobKey secret = rank.secret(start);
    server.protect(mechanism->armed(start.noise, secret.bytes(), branches_of(start)));
  }
  shared = rank.keeper(start.roster);
  open_server(rank, server, start, shared.get(), [&] {
    rank.link.moved(registration.info);
    orders.open(server);
  });
  const Moves moves(rank, [&server](const wire::ProcessInfo& info) { server.moved(info); });
  if (c.traces()) {
    const auto run = std::filesystem::path(start.checkpoints).parent_path();
    server.trace_into(run / "trace", rank.seat.incarnation, start.first_step);
  }
  open_checkpoints(rank, server, disk, start);
  rank.link.log(fmt::format("holds its shard in at most {}, of that {} for checkpoints under way",
                            readable_bytes(server.memory_bound()),
                            readable_bytes(server.checkpoint_memory())),
                false);
  if (!adopts) orders.open(server);
  rank.phase = "serving";
  server::ServerReport report;
  const bool keeps = c.memory_outlives() && shared;
  try {
    report = server.run();
  } catch (...) {
    const auto [fault, text] = describe(std::current_exception());
    const bool over = fault == Fault::preempted || rank.link.stopped();
    if (over && keeps) end_keeper(*shared);  // nobody goes on with what it holds
    const bool reading = fault == Fault::checkpoint;
    rank.phase =
        reading ? "reading the checkpoint" : fmt::format("training step {}", server.step());
    if (reading && adopts) fail_to_adopt(text);
    throw;
  }
  if (keeps) end_keeper(*shared);
  wire::Finished finished = resources();
  finished.duplicates = report.duplicates;
  finished.dropped = report.dropped;
  finished.survives = server.survives();
  finished.lane_pauses = report.lane_pauses;
  return finished;
}

}  // namespace sheaf::launcher
