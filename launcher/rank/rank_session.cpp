#include "launcher/rank/rank_session.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/error.h"
#include "common/privacy/secrets.h"
#include "launcher/rank/roles.h"
#include "launcher/system/build_identity.h"
#include "launcher/system/host.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {

RankSession::RankSession(const RunConfig& c, const Seat& s)
    : config(c),
      seat(s),
      credentials(make_credentials(c, s.key, s.process, s.incarnation)),
      link({credentials, s.coordinator, c.timeouts().beat, c.timeouts().dead, c.timeouts().start,
            [this] { return guest ? 0 : resources().cpu_seconds; }},
           shutdown) {}

wire::Registration RankSession::registration() const {
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

wire::Start RankSession::enroll(const wire::Registration& registration) {
  wire::Start start = link.enroll(registration);
  const Duration grace = config.timeouts().orphan_grace;
  // Nobody but who opened the ledger of a private job knows what of a step was released.
  if (!seat.supervised || grace == Duration{0} || config.privacy().on) return start;
  const std::filesystem::path run = std::filesystem::path(start.checkpoints).parent_path();
  cluster::ControlLink::Search search;
  search.grace = grace;
  search.look = [this, run] { return look_for_coordinator(run, seat.key); };
  if (seat.process == ProcessId{Role::server, 0}) {
    search.on_grace_over = [this, run] {
      last.reset();  // one before has been taken over, or found somebody else there
      last = LastCoordinator::begin(run, seat.key, link.local_address());
    };
  }
  link.wait_for_another(std::move(search));
  return start;
}

std::function<void(const std::string&)> RankSession::warn() {
  return [this](const std::string& text) { link.log(text, true); };
}

wire::JobKey RankSession::secret(const wire::Start& start) {
  privacy::keep_memory_private();
  check(!start.secret.empty() && start.noise > 0, "a private job has secrets");
  return wire::JobKey::from_hex(start.secret);
}

bool RankSession::uses_keeper() const {
  return config.shares_memory() || (config.keeps_snapshots() && seat.process.role == Role::server);
}

std::unique_ptr<cluster::KeeperClient> RankSession::keeper(
    const std::vector<wire::ProcessInfo>& roster) {
  if (!uses_keeper()) return nullptr;
  bool roles[2] = {};
  for (const wire::ProcessInfo& other : roster) {
    if (other.host_id == host_identity()) roles[other.process.role == Role::server ? 0 : 1] = true;
  }
  const bool keeps = seat.process.role == Role::server && config.memory_outlives();
  if (!keeps && (!roles[0] || !roles[1])) return nullptr;
  try {
    return std::make_unique<cluster::KeeperClient>(credentials, config.timeouts().start);
  } catch (const Error& error) {
    link.log(fmt::format("shares no memory: {}", error.message()), true);
    return nullptr;
  }
}

Duration RankSession::spin(const std::vector<wire::ProcessInfo>& roster) const {
  return spin_on_host(roster, config.run().blas_threads, config.network().lanes);
}

bool RankSession::has_worker_here(const std::vector<wire::ProcessInfo>& roster) {
  return std::ranges::any_of(roster, [](const wire::ProcessInfo& other) {
    return other.process.role == Role::worker && other.host_id == host_identity();
  });
}

wire::Failure RankSession::failure(const std::exception_ptr& error) const {
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

std::string RankSession::where() const {
  if (phase == "training" && link.begun() > 0) {
    return fmt::format("training step {}", link.begun() - 1);
  }
  return phase;
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

}  // namespace sheaf::launcher
