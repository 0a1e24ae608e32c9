#include "tests/cluster/threaded_job.h"

#include <fmt/format.h>

#include <cmath>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/cluster/coordination.h"
#include "common/cluster/keeper.h"
#include "common/config/section.h"
#include "common/math/blas.h"
#include "common/math/kernels.h"
#include "common/params/partition_tree.h"
#include "server/lane.h"
#include "server/server.h"
#include "tests/server/shard/shard_job.h"
#include "worker/data/batcher.h"
#include "worker/data/examples.h"
#include "worker/data/source.h"

namespace sheaf::threads {
namespace {

constexpr std::uint64_t kSeed = 21;
constexpr std::size_t kChunkBytes = 128;
constexpr char kHost[] = "this host";
constexpr Duration kPatience = std::chrono::seconds(10);
constexpr std::size_t kFeatures = 6;
constexpr char kModel[] = R"([model]
loss = "mse"
layers = [
  { kind = "dense", units = 9, activation = "tanh" },
  { kind = "dropout", rate = 0.2 },
  { kind = "dense", units = 7, rate_scale = 0.5 },
  { kind = "dense", units = 1 },
]
)";

// ---- what the job is made of --------------------------------------------------------------------

// y = sum of squares of normal inputs; every row a function of its number.
class Points final : public worker::Source {
 public:
  explicit Points(std::uint64_t rows) : rows_(rows) {}
  worker::Schema schema() override { return {kFeatures, 1}; }
  std::uint64_t rows(worker::SourcePart part) override {
    return part == worker::SourcePart::train ? rows_ : 0;
  }
  void read(worker::SourcePart, const worker::RowFilter& keep, worker::Examples& into) override {
    for (std::uint64_t row = 0; row < rows_; ++row) {
      if (!keep(row)) continue;
      Stream stream(kSeed, Purpose::test, row);
      std::vector<float> inputs(kFeatures);
      float target = 0;
      for (float& x : inputs) {
        x = static_cast<float>(stream.normal());
        target += x * x;
      }
      into.append(row, std::span<const float>(inputs), {&target, 1});
    }
  }
  std::string locate(worker::SourcePart, std::uint64_t row) const override {
    return fmt::format("row {}", row);
  }
  std::vector<std::filesystem::path> files() const override { return {}; }

 private:
  std::uint64_t rows_;
};

// Adds to each value a draw named by (step, partition, chunk): the same for any host.
class ToyNoise final : public privacy::Mechanism {
 public:
  bool perturbs_at_worker() const override { return true; }
  void perturb(std::span<float> values, const privacy::NoiseKey& key) const override {
    Stream stream(kSeed + 1, Purpose::test, key.step, key.partition, key.chunk);
    for (float& value : values) value += stream.uniform();
  }
};

std::unique_ptr<privacy::Mechanism> make_mechanism(bool noise) {
  if (noise) return std::make_unique<ToyNoise>();
  const auto document = config::Document::from_text("", "job.toml");
  return find_mode(privacy::mechanisms(), "none")->make(document->root());
}

std::unique_ptr<compression::Compressor> make_compressor(bool lossy) {
  if (lossy) return std::make_unique<server::UpperHalves>();
  return server::no_compressor();
}

std::unique_ptr<server::Optimizer> make_optimizer() {
  const auto document = config::Document::from_text("decay = 0.1\n", "job.toml");
  return find_mode(server::optimizers(), "adam")->make(document->root());
}

// A worker's own copy of data and model.
struct Site {
  Site(const JobOptions& o, PartitionRange hosted, const worker::SumOverPartitions& sum)
      : source(o.examples),
        data(source, {o.partitions, {0.2, 0}, kSeed}, hosted),
        plan(data.size(worker::Part::train), o.batch, o.partitions, kSeed),
        normaliser(worker::make_normaliser(worker::Normalisation::standard, data, sum)),
        document(config::Document::from_text(kModel, "job.toml")),
        model(document->root().table("model"), source.schema()),
        chunks(model.layout(), kChunkBytes),
        shards(chunks, o.servers, o.lanes),
        push(make_compressor(o.lossy_push)),
        pull(make_compressor(o.lossy_pull)),
        mechanism(make_mechanism(o.noise)) {
    document->throw_if_faulty();
  }
  Points source;
  worker::PartitionSet data;
  worker::BatchPlan plan;
  worker::Normaliser normaliser;
  std::unique_ptr<config::Document> document;
  worker::Model model;
  params::ChunkMap chunks;
  params::ShardMap shards;
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  std::unique_ptr<privacy::Mechanism> mechanism;
};

params::Layout job_layout() {
  const auto document = config::Document::from_text(kModel, "job.toml");
  return worker::Model(document->root().table("model"), {kFeatures, 1}).layout();
}

// ---- the coordinator's part, in memory ----------------------------------------------------------

class Office {
 public:
  using Values = cluster::Coordination::Values;
  explicit Office(const JobOptions& options) : options_(options) {}

  std::vector<double> sum(std::string_view tag, const Values& mine) {
    std::unique_lock lock(mutex_);
    add(tag, mine);
    const std::string name(tag);
    changed_.wait(lock, [&] { return closed_ || result_.sums.contains(name); });
    if (!result_.sums.contains(name)) fail(Fault::network, "the job ended before sum {}", tag);
    return result_.sums.at(name);
  }
  void submit(std::string_view tag, const Values& mine) {
    const std::lock_guard lock(mutex_);
    add(tag, mine);
  }
  void report_loss(const wire::StepLoss& loss) {
    const std::lock_guard lock(mutex_);
    if (!reported_.emplace(loss.step, loss.partition).second) return;  // it has two hosts
    auto& [sum, examples] = losses_[loss.step];
    sum += loss.loss_sum;
    examples += loss.examples;
  }
  void begin(std::uint32_t worker, Step step) {
    std::unique_lock lock(mutex_);
    if (worker == 1) begun_ = step;
    changed_.notify_all();
    if (!options_.in_turn || worker != 0 || step + 1 == options_.steps) return;
    changed_.wait(lock, [&] { return closed_ || begun_ > step; });
  }
  void send_model(std::size_t offset, std::span<const float> values) {
    const std::lock_guard lock(mutex_);
    result_.model.resize(std::max(result_.model.size(), offset + values.size()));
    std::ranges::copy(values, result_.model.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // After all ranks have ended.
  Result result() {
    for (const auto& [step, loss] : losses_) {
      result_.losses.push_back(loss.first / static_cast<double>(loss.second));
    }
    return std::move(result_);
  }

 private:
  void add(std::string_view tag, const Values& mine) {
    auto& gathered = gathered_[std::string(tag)];
    gathered.insert(mine.begin(), mine.end());
    if (gathered.size() != options_.partitions) return;
    std::vector<std::vector<double>> in_order;
    for (const auto& [partition, values] : gathered) in_order.push_back(values);
    result_.sums[std::string(tag)] = params::tree_sum(in_order);
    changed_.notify_all();
  }

  const JobOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::map<std::string, Values> gathered_;
  std::map<Step, std::pair<double, std::uint64_t>> losses_;
  std::set<std::pair<Step, std::uint32_t>> reported_;
  Step begun_ = 0;  // by worker 1
  Result result_;
};

// One worker's line to the office.
class Desk final : public cluster::Coordination {
 public:
  Desk(Office& office, std::uint32_t worker) : office_(office), worker_(worker) {}
  std::vector<double> sum(std::string_view tag, const Values& mine) override {
    return office_.sum(tag, mine);
  }
  void submit(std::string_view tag, const Values& mine) override { office_.submit(tag, mine); }
  void collect(std::string_view, const Values&) override {}
  void report_loss(const wire::StepLoss& loss, std::uint64_t, std::uint64_t) override {
    office_.report_loss(loss);
  }
  bool may_begin(Step step) override {
    office_.begin(worker_, step);
    return true;
  }
  void send_model(std::size_t offset, std::span<const float> values) override {
    office_.send_model(offset, values);
  }

 private:
  Office& office_;
  std::uint32_t worker_;
};

// ---- ranks --------------------------------------------------------------------------------------

class Job {
 public:
  explicit Job(const JobOptions& options) : options_(options), office_(options_) {}

  Result run() {
    if (options_.shared) {
      keeper_ = cluster::Keeper::start(credentials({Role::server, 0}), kPatience);
      client_ = std::make_unique<cluster::KeeperClient>(credentials({Role::server, 0}), kPatience);
    }
    for (std::uint32_t s = 0; s < options_.servers; ++s) make_server(s);
    for (auto& server : servers_) server->server.open(job_layout(), roster_, client_.get());
    for (std::uint32_t w = 0; w < options_.workers; ++w) make_worker(w);
    {
      std::vector<std::jthread> serving;
      for (auto& server : servers_) {
        serving.emplace_back([this, &server] {
          guarded([&] { duplicates_[server->id] = server->server.run().duplicates; });
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
    Result result = office_.result();
    result.reports = std::move(reports_);
    result.shared_lanes = shared_lanes_;
    for (const std::uint64_t d : duplicates_) result.duplicates += d;
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
    o.gate = server::bsp_gate();
    o.optimizer = make_optimizer();
    o.schedule = std::make_unique<server::Schedule>(options_.rate, 0);
    o.push = make_compressor(options_.lossy_push);
    o.pull = make_compressor(options_.lossy_pull);
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
        info.ports.push_back(e.port);
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
    o.credentials = credentials({Role::worker, rank.id});
    if (rank.id >= options_.apart) {
      o.keeper = client_.get();
      o.host_id = kHost;
    }
    worker::Worker::plan_exchange(maps->chunks, *maps->push, *maps->mechanism, o);
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
      return office_.sum(tag, mine);
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
    Desk desk(office_, rank.id);
    worker::Worker worker({.data = site.data,
                           .plan = site.plan,
                           .normaliser = site.normaliser,
                           .model = site.model,
                           .chunks = site.chunks,
                           .push = *site.push,
                           .mechanism = *site.mechanism,
                           .exchange = *rank.exchange,
                           .coordination = desk,
                           .shutdown = rank.end},
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
      office_.close();
      for (auto& worker : workers_) worker->end.fail(error);
      for (auto& server : servers_) server->end.fail(error);
    }
  }

  struct Maps {
    explicit Maps(const JobOptions& o)
        : layout(job_layout()),
          chunks(layout, kChunkBytes),
          shards(chunks, o.servers, o.lanes),
          push(make_compressor(o.lossy_push)),
          pull(make_compressor(o.lossy_pull)),
          mechanism(make_mechanism(o.noise)) {}
    params::Layout layout;
    params::ChunkMap chunks;
    params::ShardMap shards;
    std::unique_ptr<compression::Compressor> push;
    std::unique_ptr<compression::Compressor> pull;
    std::unique_ptr<privacy::Mechanism> mechanism;
  };

  JobOptions options_;
  wire::JobKey key_;
  std::unique_ptr<cluster::Keeper> keeper_;
  std::unique_ptr<cluster::KeeperClient> client_;
  std::size_t shared_lanes_ = 0;
  Office office_;
  std::vector<wire::ProcessInfo> roster_;
  std::vector<std::unique_ptr<ServerRank>> servers_;
  std::vector<std::unique_ptr<Maps>> maps_;
  std::vector<std::unique_ptr<WorkerRank>> workers_;
  std::vector<worker::WorkerReport> reports_;
  std::vector<std::uint64_t> duplicates_;
  std::mutex mutex_;
  std::exception_ptr error_;
};

// ---- the serial reference -----------------------------------------------------------------------

using Sum = std::optional<std::vector<float>>;

// Left half plus right half; the left one has the largest power of two below the width.
Sum tree_sum(const std::vector<Sum>& leaves, PartitionRange node) {
  if (node.count == 1) return leaves[node.first];
  std::uint32_t half = 1;
  while (2 * half < node.count) half *= 2;
  Sum left = tree_sum(leaves, {node.first, half});
  const Sum right = tree_sum(leaves, {node.first + half, node.count - half});
  if (!left) return right;
  if (!right) return left;
  for (std::size_t i = 0; i < left->size(); ++i) (*left)[i] += (*right)[i];
  return left;
}

class Serial {
 public:
  explicit Serial(const JobOptions& options)
      : options_(options),
        site_(options_, {0, options.partitions},
              [](std::string_view, std::map<std::uint32_t, std::vector<double>> mine) {
                std::vector<std::vector<double>> in_order;
                for (auto& [partition, values] : mine) in_order.push_back(std::move(values));
                return params::tree_sum(in_order);
              }),
        fill_(worker::training_batches(site_.data, site_.plan, site_.normaliser)),
        optimizer_(make_optimizer()),
        parameters_(site_.model.layout().size()),
        state_(optimizer_->state_per_parameter() * parameters_.size()) {
    site_.model.reserve(options.batch);
  }

  Reference run() {
    site_.model.initialise(parameters_, kSeed);
    for (Step step = 0; step < options_.steps; ++step) take(step);
    return {pulled(), site_.chunks.size(), parameters_.size() * sizeof(float)};
  }

 private:
  // The parameters as workers see them.
  std::vector<float> pulled() const {
    if (!options_.lossy_pull) return parameters_;
    return through(*site_.pull, parameters_);
  }
  static std::vector<float> through(const compression::Compressor& compressor,
                                    std::span<const float> values) {
    std::vector<std::byte> bytes(compressor.max_bytes(values.size()));
    bytes.resize(compressor.encode(values, {}, bytes));
    std::vector<float> out(values.size());
    compressor.decode_add(bytes, out);
    return out;
  }

  // What leaves one partition: the gradient, then the noise chunk by chunk, then the encoding.
  Sum contribution(Step step, std::uint32_t partition, std::span<const float> seen) {
    if (site_.plan.count(step, partition) == 0) return std::nullopt;
    worker::Batch batch = worker::make_batch(options_.batch, site_.model.schema());
    fill_(step, partition, batch);
    std::vector<float> gradient(parameters_.size());
    site_.model.gradient(seen, batch, {kSeed, step, partition}, gradient);
    for (std::uint32_t c = 0; c < site_.chunks.size(); ++c) {
      const params::Chunk& chunk = site_.chunks[c];
      const auto values = std::span(gradient).subspan(chunk.offset, chunk.size);
      if (options_.noise) site_.mechanism->perturb(values, {step, partition, c});
      if (options_.lossy_push) std::ranges::copy(through(*site_.push, values), values.begin());
    }
    return gradient;
  }

  void take(Step step) {
    const auto seen = pulled();
    std::vector<Sum> leaves;
    std::uint64_t examples = 0;
    for (std::uint32_t p = 0; p < options_.partitions; ++p) {
      leaves.push_back(contribution(step, p, seen));
      examples += site_.plan.count(step, p);
    }
    Sum sum = tree_sum(leaves, {0, options_.partitions});
    if (!sum) return;
    double squares = 0;
    for (const params::Chunk& c : site_.chunks.chunks()) {
      squares += math::sum_squares(std::span(*sum).subspan(c.offset, c.size));
    }
    const double norm = std::sqrt(squares) / static_cast<double>(examples);
    const bool clipped = options_.clip_norm != 0 && norm > options_.clip_norm;
    server::OptimizerStep request;
    request.step = step;
    request.rate = options_.rate;
    request.gradient_scale =
        (clipped ? options_.clip_norm / norm : 1) / static_cast<double>(examples);
    std::vector<float> next(parameters_.size());
    const std::size_t per_parameter = optimizer_->state_per_parameter();
    // Tensor by tensor: optimizers are elementwise, so chunks must not show.
    for (const params::Tensor& t : site_.model.layout().tensors()) {
      request.group = site_.model.layout().groups()[t.group];
      optimizer_->step(request, std::span(parameters_).subspan(t.offset, t.size),
                       std::span(*sum).subspan(t.offset, t.size),
                       std::span(state_).subspan(t.offset * per_parameter, t.size * per_parameter),
                       std::span(next).subspan(t.offset, t.size));
    }
    parameters_ = next;
  }

  JobOptions options_;
  Site site_;
  worker::Batcher::Fill fill_;
  std::unique_ptr<server::Optimizer> optimizer_;
  std::vector<float> parameters_;
  std::vector<float> state_;
};

}  // namespace

Result run(const JobOptions& options) {
  math::set_blas_threads(1);
  return Job(options).run();
}

Reference reference(const JobOptions& options) {
  math::set_blas_threads(1);
  return Serial(options).run();
}

}  // namespace sheaf::threads
