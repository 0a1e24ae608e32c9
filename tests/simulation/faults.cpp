// What goes wrong in a simulated job, by chance, and how everything begins again.
#include "common/checkpoint/store.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/coordinator.h"
#include "tests/simulation/server_process.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

// ---- without a coordinator ----------------------------------------------------------------------

void Cluster::fault() {
  std::vector<Worker*> training;
  for (const auto& worker : workers) {
    if (worker->training() && !worker->finished()) training.push_back(worker.get());
  }
  if (training.empty()) return;
  Worker& one = *training[random.next() % training.size()];
  Worker& other = *training[random.next() % training.size()];
  const std::uint64_t kind = random.next() % 4;
  switch (gate->exact() ? kind : kind / 2 * 3) {
    case 0:  // a connection breaks
      one.reconnect(random.next() % shards.lane_count());
      break;
    case 1: {  // a living worker gives a partition away; an heir is at most one step ahead
      if (&one == &other || other.step() > one.step() + 1 || one.hosted().size() < 2) return;
      const std::uint32_t partition = *one.hosted().rbegin();
      one.give_away(partition);
      other.take_over({partition});
      break;
    }
    case 2: {  // death, and another worker inherits
      if (&one == &other || other.step() > one.step() + 1) return;
      const auto hosted = one.hosted();
      one.die();
      other.take_over(hosted);
      break;
    }
    default: {  // death, and a replacement that begins where its partitions are
      const auto hosted = one.hosted();
      const Step step = clock_of(hosted);
      one.die();
      workers.push_back(std::make_unique<Worker>(*this, one.which(), 0, hosted));
      workers.back()->begin(step);
    }
  }
  ++outcome.moves;
}

// The first step of which a chunk lacks one of these partitions.
Step Cluster::clock_of(const std::set<std::uint32_t>& partitions) {
  Step clock = options.steps;
  for (std::size_t i = 0; i < shards.lane_count(); ++i) {
    for (const std::uint32_t p : partitions) clock = std::min(clock, lane(i)->shard->clock(p));
  }
  return clock;
}

// ---- with one -----------------------------------------------------------------------------------

void Cluster::loss() {
  std::vector<Process*> ranks;
  const auto add = [&](Process& process) {
    if (process.alive && process.attempt == attempt) ranks.push_back(&process);
  };
  for (const auto& worker : workers) {
    if (!worker->finished()) add(*worker);
  }
  const std::size_t count = ranks.size();
  for (const auto& server : servers) add(*server);
  if (ranks.empty()) return;
  const bool of_a_worker = count != 0 && chance(2) == 0;
  Process& process = of_a_worker ? *ranks[chance(static_cast<std::uint32_t>(count))]
                                 : *ranks[chance(static_cast<std::uint32_t>(ranks.size()))];
  const bool worker = process.id.role == Role::worker;
  note(now() * 41 + process.id.id);
  switch (chance(8)) {
    case 0:
    case 1:  // killed, a server perhaps in the middle of something; or with its host, unseen
      process.cut_off = process.cut_off || (!options.one_host && chance(3) == 0);
      if (worker) {
        process.kill();
      } else {
        process.breaths = chance(60);
        if (options.replicas && chance(6) == 0) {  // another one soon after, perhaps its backup
          ranks[count + chance(static_cast<std::uint32_t>(ranks.size() - count))]->breaths =
              chance(200);
        }
      }
      break;
    case 2:
    case 3:  // stopped, perhaps for longer than its lease
      ++outcome.stops;
      process.stopped_until = now() + 500 + chance(20000);
      break;
    case 4:  // the coordinator cannot be reached from there; it gives up after as long, or longer
      ++outcome.stops;
      process.cut_off = true;
      later(kDead + chance(worker ? 3000 : 30000), process, [&process] { process.kill(); });
      break;
    case 5:  // everything at once
      if (!options.power_failures) break;
      if (chance(2) == 0) return restart();
      coordinators.back()->breaths = chance(40);
      break;
    default:  // a connection breaks
      if (worker) {
        static_cast<Worker&>(process).disconnect(
            chance(static_cast<std::uint32_t>(shards.lane_count())));
      } else {
        static_cast<ServerProcess&>(process).lanes[chance(options.lanes)]->cut_backup();
      }
  }
}

// Of the old attempt nobody is left, but for workers that are stopped somewhere else.
void Cluster::restart() {
  ++outcome.restarts;
  ++attempt;
  progressed = now();
  newest_step = 0;
  for (const auto& worker : workers) {
    if (options.one_host || !worker->stopped(now())) worker->alive = false;
  }
  for (const auto& server : servers) server->alive = false;
  coordinators.back()->alive = false;
  server_at_.clear();
  for (auto& snapshot : snapshots) snapshot = {};
  if (options.power_failures && chance(2) == 0) {
    ++outcome.crashes;
    const std::uint32_t kind = chance(4);  // nothing survives that was not synced, all, or some
    disk.crash(kind < 2 ? kind : 2 + random.next());
  }
  choose_checkpoint();
  const auto pause = budget.next(resumed ? std::optional(resumed->step) : std::nullopt);
  check(pause.has_value(), "a restart is tried");
  newest_incarnation += 1;
  using std::chrono::milliseconds;
  events.schedule(static_cast<Milliseconds>(*pause / milliseconds(1)) + 1,
                  [this] { begin_attempt(); });
}

// The newest that is whole: as new as anybody was told, whatever the disk has lost. What was done
// after it has not been done.
void Cluster::choose_checkpoint() {
  checkpoint::Store store(disk, kCheckpoints);
  auto choice = store.newest_verified();
  for (const auto& refused : choice.refused) {
    fail(Fault::internal, "the checkpoint of step {} is damaged: {}", refused.step,
         refused.damage.front().text());
  }
  const auto found = choice.manifest ? std::optional(choice.manifest->step) : std::nullopt;
  if (found < announced) {
    fail(Fault::internal, "the checkpoint of step {} is lost", announced.value_or(0));
  }
  resumed = std::move(choice.manifest);
  const Step step = resumed ? resumed->step : 0;
  for (auto& [chunk, pushes] : added) pushes.erase(pushes.lower_bound({step, 0}), pushes.end());
  std::erase_if(outcome.added, [&](const auto& one) { return std::get<1>(one.first) >= step; });
  std::erase_if(outcome.skipped, [&](Step skipped) { return skipped >= step; });
}

}  // namespace sheaf::simulation
