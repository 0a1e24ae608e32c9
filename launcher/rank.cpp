#include "launcher/rank.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "common/base/error.h"
#include "common/cluster/control_link.h"
#include "common/math/blas.h"
#include "common/params/partition_tree.h"
#include "launcher/build_identity.h"
#include "launcher/process_identity.h"
#include "server/server.h"
#include "worker/data/digest.h"
#include "worker/models/losses/loss.h"
#include "worker/worker.h"

namespace sheaf::launcher {
namespace {

wire::Digest digest_of_hex(const std::string& hex) {
  return wire::JobKey::from_hex(hex).bytes();  // 64 hexadecimal digits, like a key
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
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

std::string readable_bytes(std::size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
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
        credentials{s.key, make_identity(c, s.process, s.incarnation)},
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
    r.numerics = fmt::format("{}, {} BLAS threads", numerics_text(), config.run().blas_threads);
    return r;
  }

  std::function<void(const std::string&)> warn() {
    return [this](const std::string& text) { link.log(text, true); };
  }

  std::string where() const {
    if (phase == "training" && link.begun() > 0) {
      return fmt::format("training step {}", link.begun() - 1);
    }
    return phase;
  }
};

wire::Finished serve(Rank& rank) {
  const RunConfig& c = rank.config;
  server::ServerOptions options;
  options.id = rank.seat.process.id;
  options.servers = c.run().servers;
  options.workers = c.run().workers;
  options.partitions = c.run().partitions;
  options.lanes = c.network().lanes;
  options.chunk_bytes = c.network().chunk_bytes;
  options.clip_norm = c.optimizer().clip_norm.value_or(0);
  options.gate = c.make_gate();
  options.optimizer = c.make_optimizer();
  options.schedule = std::make_unique<server::Schedule>(c.make_schedule());
  options.push = c.make_push_compressor();
  options.pull = c.make_pull_compressor();
  options.credentials = rank.credentials;
  options.handshake_limit = c.timeouts().suspect;
  options.dead_limit = c.timeouts().dead;
  options.warn = rank.warn();
  server::Server server(std::move(options), rank.shutdown);

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
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.link.enroll(registration);
  server.open(start.layout, {start.roster.begin(), start.roster.begin() + c.run().servers});
  rank.link.log(fmt::format("holds its shard in at most {}", readable_bytes(server.memory_bound())),
                false);
  rank.phase = "serving";
  const server::ServerReport report = server.run();
  wire::Finished finished = resources();
  finished.duplicates = report.duplicates;
  return finished;
}

// A label or target that the loss cannot use is a fault of the data, with its place.
void check_targets(const worker::PartitionSet& data, const worker::Model& model,
                   const worker::Source& source) {
  data.each_target([&](worker::SourcePart part, std::uint64_t row, std::span<const float> targets) {
    if (const auto problem = model.loss().bad_target(targets, model.outputs())) {
      fail(Fault::data, "{}: {}", source.locate(part, row), *problem);
    }
  });
}

wire::Finished work(Rank& rank) {
  const RunConfig& c = rank.config;
  const RunSection& run = c.run();
  rank.phase = "reading the schema of the data";
  const auto source = c.make_source();
  const worker::Schema schema = source->schema();
  const worker::Split::Fractions fractions{c.data().validation, c.data().test};
  const worker::Split split(source->rows(worker::SourcePart::train), fractions, run.partitions,
                            run.seed);
  const worker::BatchPlan plan(split.size(worker::Part::train), c.data().batch, run.partitions,
                               run.seed);
  const auto model = c.make_model(schema);

  wire::Registration registration = rank.registration();
  registration.data_digest = worker::data_digest(*source);
  registration.layout = model->layout();
  registration.task = static_cast<std::uint32_t>(model->loss().task());
  registration.outputs = static_cast<std::uint32_t>(model->outputs());
  registration.targets = static_cast<std::uint32_t>(schema.targets);
  registration.steps_per_epoch = plan.steps_per_epoch();
  registration.steps = plan.steps_per_epoch() * run.epochs;
  if (run.steps) registration.steps = std::min(registration.steps, *run.steps);
  rank.phase = "waiting for the other ranks";
  const wire::Start start = rank.link.enroll(registration);

  rank.phase = "loading data";
  const PartitionRange hosted =
      params::hosted_partitions(run.partitions, run.workers, rank.seat.process.id);
  const worker::PartitionSet data(*source, {run.partitions, fractions, run.seed}, hosted);
  check_targets(data, *model, *source);
  const worker::Normaliser normaliser = worker::make_normaliser(
      c.data().normalise, data,
      [&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
        return rank.link.sum(tag, mine);
      });
  rank.link.log(fmt::format("hosts partitions {}..{} with {}", hosted.first, hosted.end() - 1,
                            math::blas_identity()),
                false);

  rank.phase = "connecting to the servers";
  const params::ChunkMap chunks(model->layout(), c.network().chunk_bytes);
  const params::ShardMap shards(chunks, run.servers, c.network().lanes);
  const auto push = c.make_push_compressor();
  const auto pull = c.make_pull_compressor();
  const auto mechanism = c.make_mechanism();
  worker::PushPull exchange({.partitions = run.partitions,
                             .hosted = hosted,
                             .window = c.network().window,
                             .dead_limit = c.timeouts().dead,
                             .stall_warning = c.timeouts().dead,
                             .credentials = rank.credentials,
                             .warn = rank.warn()},
                            chunks, shards, *pull, rank.shutdown);
  exchange.connect({start.roster.begin(), start.roster.begin() + run.servers});
  exchange.start();

  rank.phase = "training";
  worker::Worker worker(
      {.data = data,
       .plan = plan,
       .normaliser = normaliser,
       .model = *model,
       .chunks = chunks,
       .push = *push,
       .mechanism = *mechanism,
       .exchange = exchange,
       .coordination = rank.link,
       .shutdown = rank.shutdown},
      {.seed = run.seed, .steps = registration.steps, .prefetch = c.data().prefetch});
  const worker::WorkerReport report = worker.run();
  wire::Finished finished = resources();
  finished.steps = report.steps;
  finished.training_seconds = report.seconds;
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
      rank.link.fail({seat.process, static_cast<int>(fault), rank.where(), text});
      rank.shutdown.fail(std::current_exception());
    }
    rank.link.close(std::chrono::seconds(1));
    return static_cast<int>(fault);
  }
}

}  // namespace sheaf::launcher
