#include "tests/cluster/threaded_job.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/keeper.h"
#include "common/compression/by_chunk.h"
#include "common/math/blas.h"
#include "common/params/partition_tree.h"
#include "server/lane.h"
#include "server/server.h"
#include "tests/cluster/cutting_proxy.h"
#include "tests/cluster/job_site.h"
#include "tests/cluster/local_coordinator.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::threads {
namespace {

constexpr char kHost[] = "this host";
constexpr Duration kPatience = std::chrono::seconds(10);

class Job {
 public:
  explicit Job(const JobOptions& options) : options_(options), coordinator_(options_) {}

  Result run() {
    if (options_.shared) {
      keeper_ = cluster::Keeper::start(credentials({Role::server, 0}), kPatience);
      client_ = std::make_unique<cluster::KeeperClient>(credentials({Role::server, 0}), kPatience);
    }
    for (std::uint32_t s = 0; s < options_.servers; ++s) make_server(s);
    for (auto& server : servers_) server->server.open(job_layout(options_), roster_, client_.get());
    for (std::uint32_t w = 0; w < options_.workers; ++w) make_worker(w);
    {
      std::vector<std::jthread> serving;
      for (auto& server : servers_) {
        serving.emplace_back([this, &server] {
          guarded([&] {
            const server::ServerReport report = server->server.run();
            duplicates_[server->id] = report.duplicates;
            dropped_ += report.dropped;
          });
        });
      }
      {
        std::vector<std::jthread> working;
        for (auto& worker : workers_) {
          working.emplace_back([this, &worker] { guarded([&] { work(*worker); }); });
        }
      }
      for (auto& worker : workers_) {
        if (worker->exchange) shared_lanes_ += worker->exchange->shared_lanes();
        worker->exchange.reset();
      }
      for (auto& server : servers_) server->end.finish();
    }
    if (error_) std::rethrow_exception(error_);
    Result result = coordinator_.result();
    result.reports = std::move(reports_);
    result.shared_lanes = shared_lanes_;
    for (const auto& proxy : proxies_) result.cuts += proxy->cuts();
    result.skipped = skipped_;
    result.dropped = dropped_;
    for (const std::uint64_t d : duplicates_) result.duplicates += d;
    for (const worker::WorkerReport& report : result.reports) result.stood_in += report.stood_in;
    return result;
  }

 private:
  struct ServerRank {
    ServerRank(std::uint32_t i, server::ServerOptions o) : id(i), server(std::move(o), end) {}
    std::uint32_t id;
    cluster::Shutdown end;
    server::Server server;
  };
  struct WorkerRank {
    std::uint32_t id = 0;
    PartitionRange hosted;
    cluster::Shutdown end;
    std::unique_ptr<Site> site;
    std::unique_ptr<worker::PushPull> exchange;
  };

  net::Credentials credentials(ProcessId process) const {
    wire::Identity identity;
    identity.process = process;
    return {key_, identity,
            options_.tls ? net::Encryption::always : net::Encryption::between_hosts};
  }

  void make_server(std::uint32_t id) {
    server::ServerOptions o;
    o.id = id;
    o.servers = options_.servers;
    o.workers = options_.workers;
    o.partitions = options_.partitions;
    o.lanes = options_.lanes;
    o.chunk_bytes = kChunkBytes;
    o.clip_norm = options_.clip_norm;
    o.seed = kSeed;
    o.skip_non_finite = options_.non_finite == optimization::NonFinite::skip;
    o.skipped = [this](Step step) {
      const std::lock_guard lock(mutex_);
      skipped_.insert(step);
    };
    o.gate = server::make_gate(options_.gate);
    o.optimizer = make_optimizer();
    auto mechanism = make_mechanism(options_);
    if (mechanism->perturbs_at_server()) o.mechanism = std::move(mechanism);
    o.schedule = options_.rate_changes
                     ? std::make_unique<optimization::Schedule>(options_.rate, 2, 10)
                     : std::make_unique<optimization::Schedule>(options_.rate, 0);
    o.push = make_codecs(options_.lossy_push, options_.push, options_);
    o.pull = make_codecs(options_.lossy_pull, options_.pull, options_);
    o.pull_feedback = options_.pull_feedback;
    o.credentials = credentials({Role::server, id});
    o.warn = [](const std::string&) {};
    servers_.push_back(std::make_unique<ServerRank>(id, std::move(o)));
    duplicates_.push_back(0);

    wire::ProcessInfo info;
    info.process = {Role::server, id};
    info.host_id = kHost;
    if (options_.tcp) {
      for (const net::Endpoint& e : servers_.back()->server.bind("127.0.0.1", {})) {
        info.address = e.address;
        if (!options_.cuts.empty()) {
          proxies_.push_back(std::make_unique<CuttingProxy>(e.port, options_.cuts));
        }
        info.ports.push_back(options_.cuts.empty() ? e.port : proxies_.back()->port());
      }
    }
    roster_.push_back(info);
  }

  void make_worker(std::uint32_t id) {
    workers_.push_back(std::make_unique<WorkerRank>());
    workers_.back()->id = id;
    workers_.back()->hosted =
        options_.hosted.empty()
            ? params::hosted_partitions(options_.partitions, options_.workers, id)
            : options_.hosted[id];
    reports_.emplace_back();
    if (!options_.tcp) make_exchange(*workers_.back());
  }

  // Each worker has maps of its own, as it would in a process of its own; the exchange needs them
  // before the data is there.
  void make_exchange(WorkerRank& rank) {
    auto& maps = maps_.emplace_back(std::make_unique<Maps>(options_));
    worker::PushPull::Options o;
    o.partitions = options_.partitions;
    o.hosted = rank.hosted;
    o.window = 3;
    o.pull_feedback = options_.pull_feedback;
    o.seed = kSeed;
    if (!options_.cuts.empty()) o.rejoin_limit = kPatience;
    o.credentials = credentials({Role::worker, rank.id});
    if (rank.id >= options_.apart) {
      o.keeper = client_.get();
      o.host_id = kHost;
    }
    worker::Worker::plan_exchange(maps->chunks, *maps->push, *maps->mechanism, synchronous_, o);
    if (stand_in_after_) o.synchronous = false;  // each reads copies of its own
    o.warn = [](const std::string&) {};
    rank.exchange = std::make_unique<worker::PushPull>(std::move(o), maps->chunks, maps->shards,
                                                       *maps->pull, rank.end);
    if (options_.tcp) return;
    for (auto& server : servers_) {
      for (std::uint32_t l = 0; l < options_.lanes; ++l) {
        server::Lane& lane = server->server.lane(l);
        auto [ours, theirs] = net::connected_pair(rank.exchange->context(l), lane.context());
        rank.exchange->adopt({server->id, l}, std::move(ours));
        lane.adopt(std::move(theirs), {Role::worker, rank.id});
      }
    }
  }

  void work(WorkerRank& rank) {
    const auto sum = [this](std::string_view tag,
                            std::map<std::uint32_t, std::vector<double>> mine) {
      return coordinator_.sum(tag, mine);
    };
    rank.site = std::make_unique<Site>(options_, rank.hosted, sum);
    Site& site = *rank.site;
    if (options_.tcp) {
      {
        const std::lock_guard lock(mutex_);
        make_exchange(rank);
      }
      rank.exchange->connect(roster_);
    }
    rank.exchange->start();
    LocalCoordinator::Link link(coordinator_, rank.id);
    const worker::StandInPlan stand_in{
        .after = stand_in_after_.value_or(0),
        .read = [&](PartitionRange share) { return reader_of(options_, share); },
        .say = [](const std::string&) {}};
    std::optional<worker::Residuals> residuals;
    if (options_.feedback) {
      residuals.emplace(
          worker::Residuals::Options{.chunks = site.chunks,
                                     .hosted = rank.hosted,
                                     .push_bytes = site.push->max_bytes(site.chunks.largest())});
      residuals->begin(0);
    }
    worker::Worker worker({.data = site.data,
                           .plan = site.plan,
                           .normaliser = site.normaliser,
                           .model = site.model,
                           .chunks = site.chunks,
                           .push = *site.push,
                           .mechanism = *site.mechanism,
                           .exchange = *rank.exchange,
                           .coordination = link,
                           .shutdown = rank.end,
                           .synchronous = synchronous_,
                           .drops = drops_,
                           .stand_in = stand_in_after_ ? &stand_in : nullptr,
                           .non_finite = options_.non_finite,
                           .local = options_.local_steps == 0 ? nullptr : &local_,
                           .sampler = &site.sampler,
                           .residuals = residuals ? &*residuals : nullptr},
                          {.seed = kSeed, .steps = options_.steps, .prefetch = 2});
    reports_[rank.id] = worker.run();
  }

  // The first failure ends every rank.
  template <typename Body>
  void guarded(Body body) {
    try {
      body();
    } catch (...) {
      const std::exception_ptr error = std::current_exception();
      {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = error;
      }
      coordinator_.close();
      for (auto& worker : workers_) worker->end.fail(error);
      for (auto& server : servers_) server->end.fail(error);
    }
  }

  struct Maps {
    explicit Maps(const JobOptions& o)
        : layout(job_layout(o)),
          chunks(layout, kChunkBytes),
          shards(chunks, o.servers, o.lanes),
          push(compression::by_chunk(make_codecs(o.lossy_push, o.push, o), layout, chunks)),
          pull(compression::by_chunk(make_codecs(o.lossy_pull, o.pull, o), layout, chunks)),
          mechanism(make_mechanism(o)) {}
    params::Layout layout;
    params::ChunkMap chunks;
    params::ShardMap shards;
    std::unique_ptr<compression::Compressor> push;
    std::unique_ptr<compression::Compressor> pull;
    std::unique_ptr<privacy::Mechanism> mechanism;
  };

  JobOptions options_;
  bool synchronous_ = server::make_gate(options_.gate)->exact();
  bool drops_ = server::make_gate(options_.gate)->backup() != 0;
  std::optional<double> stand_in_after_ = server::make_gate(options_.gate)->stand_in_after();
  std::unique_ptr<optimization::Optimizer> inner_ = make_inner_optimizer();
  optimization::Schedule inner_schedule_{kInnerRate, 7};
  worker::LocalSteps local_{options_.local_steps, *inner_, inner_schedule_, options_.non_finite};
  wire::JobKey key_;
  std::unique_ptr<cluster::Keeper> keeper_;
  std::unique_ptr<cluster::KeeperClient> client_;
  std::size_t shared_lanes_ = 0;
  LocalCoordinator coordinator_;
  std::vector<wire::ProcessInfo> roster_;
  std::vector<std::unique_ptr<CuttingProxy>> proxies_;
  std::vector<std::unique_ptr<ServerRank>> servers_;
  std::vector<std::unique_ptr<Maps>> maps_;
  std::vector<std::unique_ptr<WorkerRank>> workers_;
  std::vector<worker::WorkerReport> reports_;
  std::vector<std::uint64_t> duplicates_;
  std::mutex mutex_;
  std::set<Step> skipped_;  // guarded
  std::atomic<std::uint64_t> dropped_{0};
  std::exception_ptr error_;
};

}  // namespace

Result run(const JobOptions& options) {
  math::set_blas_threads(1);
  return Job(options).run();
}

}  // namespace sheaf::threads
