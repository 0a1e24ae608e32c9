#include "server/server.h"

#include <algorithm>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/shared_links.h"
#include "server/lane.h"
#include "server/scalar_links.h"

namespace sheaf::server {

Server::Server(ServerOptions options, cluster::Shutdown& shutdown)
    : options_(std::move(options)), shutdown_(shutdown) {
  const bool scalars = options_.clip_norm != 0;
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

std::array<std::span<float>, 2> Server::share_parameters(cluster::KeeperClient& keeper) {
  const std::size_t size = layout_.size();
  const std::size_t stride = cluster::shared_vector_floats(size);
  try {
    parameters_ = keeper.memory(cluster::parameters_name(), 2 * stride * sizeof(float),
                                net::SharedMemory::Access::write);
  } catch (const Error& error) {
    options_.warn(fmt::format("no shared memory: {}; workers use the network", error.message()));
    return {};
  }
  const std::span<float> both = parameters_.floats();
  return {both.first(size), both.subspan(stride, size)};
}

void Server::open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
                  cluster::KeeperClient* keeper, Duration spin) {
  layout_ = std::move(layout);
  chunks_ = std::make_unique<params::ChunkMap>(layout_, options_.chunk_bytes);
  shards_ = std::make_unique<params::ShardMap>(*chunks_, options_.servers, options_.lanes);
  // A lossy pull is what a worker decodes, not what lies here.
  std::array<std::span<float>, 2> shared{};
  if (keeper != nullptr && options_.pull->identity()) shared = share_parameters(*keeper);
  for (std::uint32_t i = 0; i < options_.lanes; ++i) {
    lanes_[i]->open({.layout = layout_,
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
                     .shared = shared});
    if (shared[0].empty()) continue;
    try {
      lanes_[i]->share(*keeper, shards_->lane_count(), spin);
    } catch (const Error& error) {
      options_.warn(fmt::format("lane {} shares no memory: {}", i, error.message()));
    }
  }
  if (links_) links_->open(servers);
}

std::size_t Server::memory_bound() const {
  std::size_t bytes = 0;
  for (const auto& lane : lanes_) bytes += lane->shard().memory_bound();
  return bytes;
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
    report.duplicates += lane->shard().duplicates();
    report.memory_bytes += lane->shard().memory_used();
  }
  return report;
}

Step Server::step() const {
  Step step = 0;
  for (const auto& lane : lanes_) step = std::max(step, lane->shard().version());
  return step;
}

std::string Server::waiting_for(Duration limit) {
  for (const auto& lane : lanes_) {
    if (std::string text = lane->waiting_for(limit); !text.empty()) return text;
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
