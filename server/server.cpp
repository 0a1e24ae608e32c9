#include "server/server.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/shared_links.h"
#include "common/compression/exempting.h"
#include "server/checkpoint/checkpointer.h"
#include "server/lane.h"
#include "server/scalar_links.h"

namespace sheaf::server {

Server::Server(ServerOptions options, cluster::Shutdown& shutdown)
    : options_(std::move(options)), shutdown_(shutdown) {
  const bool scalars =
      options_.clip_norm != 0 || options_.skip_non_finite || options_.gate->backup() != 0;
  for (std::uint32_t i = 0; i < options_.lanes; ++i) {
    Lane::Options lane;
    lane.id = i;
    lane.workers = options_.workers;
    lane.servers = options_.servers;
    lane.credentials = options_.credentials;
    lane.handshake_limit = options_.handshake_limit;
    lane.silence_limit = options_.dead_limit;
    lane.share_scalar = [this, i](Step step, std::uint32_t chunk, double value) {
      spread(i, step, chunk, value);
    };
    lane.skipped = options_.skipped;
    if (scalars) lane.scalar_limit = options_.dead_limit;
    if (scalars && i == 0) {
      lane.on_server = [this](net::Connection connection, ProcessId peer) {
        links_->accept(std::move(connection), peer);
      };
    }
    lane.warn = options_.warn;
    lanes_.push_back(std::make_unique<Lane>(std::move(lane), shutdown));
  }
  if (scalars) {
    links_ = std::make_unique<ScalarLinks>(
        lanes_[0]->context(), options_.credentials, options_.dead_limit,
        [this](Step step, std::uint32_t chunk, double value) {
          for (const auto& lane : lanes_) lane->add_scalar(step, chunk, value);
        },
        shutdown);
  }
}

Server::~Server() = default;

std::vector<net::Endpoint> Server::bind(const std::string& address, net::PortRange ports) {
  std::vector<net::Endpoint> endpoints;
  for (const auto& lane : lanes_) endpoints.push_back(lane->bind(address, ports));
  return endpoints;
}

std::array<std::span<float>, 2> Server::share_parameters(cluster::KeeperClient& keeper,
                                                         bool adopt) {
  const std::size_t size = layout_.size();
  const std::size_t stride = cluster::shared_vector_floats(size);
  const std::size_t bytes = 2 * stride * sizeof(float);
  const std::string name = cluster::parameters_name();
  using Access = net::SharedMemory::Access;
  try {
    parameters_ = adopt ? net::SharedMemory::map(keeper.get(name), bytes, Access::write)
                        : keeper.memory(name, bytes, Access::write);
  } catch (const Error& error) {
    options_.warn(fmt::format("no shared memory: {}; workers use the network", error.message()));
    return {};
  }
  const std::span<float> both = parameters_.floats();
  return {both.first(size), both.subspan(stride, size)};
}

void Server::open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
                  cluster::KeeperClient* keeper, Duration spin, Snapshots snapshots) {
  layout_ = std::move(layout);
  chunks_ = std::make_unique<params::ChunkMap>(layout_, options_.chunk_bytes);
  shards_ = std::make_unique<params::ShardMap>(*chunks_, options_.servers, options_.lanes);
  options_.push =
      compression::exempting(std::move(options_.push), layout_, *chunks_, options_.push_exempt);
  options_.pull =
      compression::exempting(std::move(options_.pull), layout_, *chunks_, options_.pull_exempt);
  // A lossy pull is what a worker decodes, not what lies here.
  std::array<std::span<float>, 2> shared{};
  bool shares = keeper != nullptr && options_.pull->identity();
  std::size_t incoming = 0;
  if (shares && options_.gate->exact()) {
    shared = share_parameters(*keeper, snapshots.adopt);
    shares = !shared[0].empty();
  } else {
    incoming = 2 * cluster::shared_vector_floats(layout_.size()) * sizeof(float);
  }
  for (std::uint32_t i = 0; i < options_.lanes; ++i) {
    ShardParts parts{.layout = layout_,
                     .chunks = *chunks_,
                     .shards = *shards_,
                     .lane = {options_.id, i},
                     .partitions = options_.partitions,
                     .connections = options_.workers,
                     .gate = *options_.gate,
                     .optimizer = *options_.optimizer,
                     .schedule = *options_.schedule,
                     .push = *options_.push,
                     .pull = *options_.pull,
                     .clip_norm = options_.clip_norm,
                     .skip_non_finite = options_.skip_non_finite,
                     .seed = options_.seed,
                     .shared = shared};
    if (snapshots.keeper != nullptr) parts.snapshot = snapshot(parts, snapshots);
    lanes_[i]->open(parts);
    if (!shares) continue;
    try {
      lanes_[i]->share(*keeper, shards_->lane_count(), incoming, spin);
    } catch (const Error& error) {
      options_.warn(fmt::format("lane {} shares no memory: {}", i, error.message()));
    }
  }
  if (links_) links_->open(servers);
}

Snapshot Server::snapshot(const ShardParts& parts, const Snapshots& snapshots) {
  using Access = net::SharedMemory::Access;
  const Snapshot::Shape shape = Shard::snapshot_shape(parts);
  const std::size_t bytes = Snapshot::bytes(shape);
  const std::string name = cluster::snapshot_name(parts.lane.server, parts.lane.lane);
  cluster::KeeperClient& keeper = *snapshots.keeper;
  if (snapshots.adopt) {
    snapshots_.push_back(net::SharedMemory::map(keeper.get(name), bytes, Access::write));
    return Snapshot::adopt(snapshots_.back().bytes(), shape);
  }
  try {
    snapshots_.push_back(keeper.memory(name, bytes, Access::write));
    return Snapshot::begin(snapshots_.back().bytes(), shape);
  } catch (const Error& error) {
    options_.warn(
        fmt::format("lane {} keeps no snapshot: {}; if this server is lost, the job "
                    "starts again from a checkpoint",
                    parts.lane.lane, error.message()));
    return {};
  }
}

void Server::checkpoint_into(const CheckpointOptions& options) {
  constexpr std::size_t kBuffersPerLane = 4;
  std::vector<std::uint32_t> ids;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const auto& chunks = shards_->chunks_of({options_.id, i});
    ids.insert(ids.end(), chunks.begin(), chunks.end());
  }
  if (ids.empty()) return;  // more servers than chunks: it has nothing to save
  std::ranges::sort(ids);
  const auto per_parameter = static_cast<std::uint32_t>(options_.optimizer->state_per_parameter());
  checkpointer_ = std::make_unique<Checkpointer>(
      options.disk,
      Checkpointer::Options{.folder = options.folder,
                            .file = {.layout = layout_,
                                     .chunks = *chunks_,
                                     .ids = ids,
                                     .state_per_parameter = per_parameter,
                                     .job = options.job,
                                     .step = 0,
                                     .server = options_.id,
                                     .host = options.host},
                            .buffers = std::min(ids.size(), kBuffersPerLane * lanes_.size()),
                            .on_room =
                                [this] {
                                  for (const auto& lane : lanes_) lane->on_room();
                                },
                            .on_done = options.on_done});
  for (const auto& lane : lanes_) lane->save_to(*checkpointer_);
}

void Server::trace_into(const std::filesystem::path& folder, std::uint32_t incarnation,
                        Step first) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);  // trace_to() says what is wrong
  const TraceHead head{.partitions = options_.partitions,
                       .first = first,
                       .synchronous = options_.gate->synchronous(),
                       .backup = options_.gate->backup(),
                       .staleness = options_.gate->staleness()};
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (shards_->chunks_of({options_.id, i}).empty()) continue;
    lanes_[i]->trace_to(folder / fmt::format("server-{}-lane-{}-step-{}-{}.trace", options_.id, i,
                                             first, incarnation),
                        head);
  }
}

void Server::restore(checkpoint::Disk& disk, const std::filesystem::path& folder,
                     checkpoint::Manifest manifest) {
  restored_ = std::move(manifest);
  readers_.reserve(lanes_.size());
  for (const auto& lane : lanes_) {
    auto& reader = readers_.emplace_back(disk, folder, restored_);
    lane->restore(restored_.step, [&reader](const params::Chunk& chunk, std::span<float> parameters,
                                            std::span<float> state) {
      reader.read(chunk.offset, parameters, state);
    });
  }
}

void Server::checkpoint_at(Version version, bool end, std::function<void(bool in_time)> answer) {
  struct Answers {
    std::atomic<std::size_t> missing;
    std::atomic<bool> in_time{true};
  };
  const auto answers = std::make_shared<Answers>();
  answers->missing = lanes_.size();
  for (const auto& lane : lanes_) {
    lane->checkpoint_at(version, end, [answers, answer](bool in_time) {
      if (!in_time) answers->in_time = false;
      if (--answers->missing == 0) answer(answers->in_time);
    });
  }
}

void Server::clock(PartitionRange partitions, std::function<void(Step)> answer) {
  struct Answers {
    std::atomic<std::size_t> missing;
    std::mutex mutex;
    Step least = std::numeric_limits<Step>::max();  // guarded
  };
  const auto answers = std::make_shared<Answers>();
  answers->missing = lanes_.size();
  for (const auto& lane : lanes_) {
    lane->clock(partitions, [answers, answer](Step clock) {
      {
        const std::lock_guard lock(answers->mutex);
        answers->least = std::min(answers->least, clock);
      }
      if (--answers->missing == 0) answer(answers->least);
    });
  }
}

void Server::abandon_checkpoint(Version version) {
  if (checkpointer_) checkpointer_->abandon(version);
}

std::size_t Server::memory_bound() const {
  std::size_t bytes = checkpoint_memory();
  for (const auto& lane : lanes_) bytes += lane->shard().memory_bound();
  return bytes;
}

std::size_t Server::checkpoint_memory() const {
  return checkpointer_ ? checkpointer_->memory() : 0;
}

ServerReport Server::run() {
  // Closing the links belongs to the thread of the first lane, before its context runs dry.
  const cluster::Shutdown::Subscription on_end(shutdown_, [this] {
    if (links_) net::asio::post(lanes_[0]->context(), [this] { links_->close(); });
  });
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < lanes_.size(); ++i) {
      threads.emplace_back([this, i] { lanes_[i]->run(); });
    }
    lanes_[0]->run();
  }
  shutdown_.throw_if_failed();
  ServerReport report;
  for (const auto& lane : lanes_) {
    lane->end_trace(shards_->busy_lanes());
    report.duplicates += lane->shard().duplicates();
    report.dropped += lane->shard().dropped();
    for (const Duration pause : lane->checkpoint_pauses()) {
      report.lane_pauses.push_back(seconds(pause));
    }
    report.memory_bytes += lane->shard().memory_used();
  }
  return report;
}

Step Server::step() const {
  Step step = 0;
  for (const auto& lane : lanes_) step = std::max(step, lane->shard().step());
  return step;
}

wire::Waiting Server::waiting_for(Duration limit) {
  for (const auto& lane : lanes_) {
    if (wire::Waiting waiting = lane->waiting_for(limit); !waiting.text.empty()) return waiting;
  }
  return {};
}

// A lane's scalar goes to its sisters in this process and to every other server.
void Server::spread(std::uint32_t from_lane, Step step, std::uint32_t chunk, double value) {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (i != from_lane) lanes_[i]->add_scalar(step, chunk, value);
  }
  links_->share(step, chunk, value);
}

}  // namespace sheaf::server
