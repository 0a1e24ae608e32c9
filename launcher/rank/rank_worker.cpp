// A rank that is a worker: it reads its part of the data, connects to the servers and trains.
#include "common/base/error.h"
#include "launcher/rank/rank_session.h"
#include "launcher/rank/roles.h"
#include "launcher/rank/worker_residuals.h"
#include "launcher/system/readable.h"
#include "worker/data/digest.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

// Tells the exchange, in which a worker waits, that there is something to compute for others.
class Helps {
 public:
  Helps(RankSession& rank, worker::PushPull& exchange) : rank_(rank) {
    rank.link.on_help([&exchange] { exchange.nudge(); });
  }
  ~Helps() { rank_.link.on_help({}); }
  Helps(const Helps&) = delete;
  Helps& operator=(const Helps&) = delete;

 private:
  RankSession& rank_;
};

}  // namespace

wire::Finished work(RankSession& rank) {
  const RunConfig& c = rank.config;
  rank.phase = "reading the schema of the data";
  WorkerRole role(c, rank.seat.process.id);

  WorkerResiduals residuals(rank, role);
  wire::Registration registration = rank.registration();
  registration.data_digest = worker::data_digest(role.source());
  registration.layout = role.layout();
  registration.task = static_cast<std::uint32_t>(role.model().loss().task());
  registration.outputs = static_cast<std::uint32_t>(role.model().outputs());
  registration.targets = static_cast<std::uint32_t>(role.model().schema().targets);
  registration.steps_per_epoch = role.plan().steps_per_epoch();
  registration.steps = role.steps();
  residuals.announce(registration);
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.enroll(registration);

  if (c.make_mechanism()->clip()) {
    const wire::JobKey secret = rank.secret(start);
    role.protect(start.noise, secret.bytes());
  }

  rank.phase = "loading data";
  role.load([&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
    return rank.link.sum(tag, mine);
  });
  rank.link.log(fmt::format("hosts {}", readable_partitions(role.hosted())), false);

  residuals.begin(start);

  rank.phase = "connecting to the servers";
  const auto shared = rank.keeper(start.roster);
  auto options = role.exchange_options(rank.credentials, rank.warn());
  options.keeper = shared.get();
  options.host_id = registration.info.host_id;
  if (shared) options.spin = rank.spin(start.roster);
  worker::PushPull exchange(std::move(options), role.chunks(), role.shards(), role.pull(),
                            rank.shutdown);
  const Moves moves(rank, [&exchange](const wire::ProcessInfo& server) { exchange.moved(server); });
  exchange.connect({start.roster.begin(), start.roster.begin() + c.run().servers});
  exchange.start();
  const Helps helps(rank, exchange);
  role.stand_in_for_others([&rank](const std::string& text) { rank.link.log(text, false); });

  rank.phase = "training";
  worker::WorkerParts parts = role.parts(exchange, rank.link, rank.shutdown);
  parts.saver = residuals.saver();
  worker::Worker worker(parts, {.seed = c.run().seed,
                                .first = start.first_step,
                                .steps = role.steps(),
                                .prefetch = c.data().prefetch});
  const worker::WorkerReport report = worker.run();
  wire::Finished finished = rank.guest ? wire::Finished{} : resources();
  finished.steps = report.steps;
  finished.training_seconds = report.seconds;
  finished.exchange_seconds = exchange.exchange_seconds();
  finished.shared_lanes = static_cast<std::uint32_t>(exchange.shared_lanes());
  finished.lanes = static_cast<std::uint32_t>(role.shards().lane_count());
  finished.stood_in = report.stood_in;
  finished.traffic = report.traffic;
  rank.link.finished(finished);
  rank.phase = "waiting for the end of the job";
  rank.link.wait_for_end();
  residuals.end();
  return finished;
}

}  // namespace sheaf::launcher
