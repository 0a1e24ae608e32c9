#include "worker/client/exchange_memory.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/base/error.h"
#include "common/net/deadline.h"

namespace sheaf::worker {

ExchangeMemory::ExchangeMemory(Options options, const params::ChunkMap& chunks,
                               const params::ShardMap& shards)
    : options_(std::move(options)), chunks_(chunks), shards_(shards) {
  constexpr std::size_t kPage = 4096;
  if (options_.workspace_bytes == 0) options_.workspace_bytes = chunks.elements() * sizeof(float);
  stride_ = (options_.workspace_bytes + kPage - 1) / kPage * kPage;
  std::size_t most = 0;  // chunks of a lane
  for (std::uint32_t server = 0; server < shards.servers(); ++server) {
    for (std::uint32_t lane = 0; lane < shards.lanes(); ++lane) {
      most = std::max(most, shards.chunks_of({server, lane}).size());
    }
  }
  // The requests of two steps to a lane; what is more waits for answers.
  ring_frames_ = std::bit_ceil(2 * (options_.workspaces + 1) * (most + 1) + 16);
}

// ---- what is shared -----------------------------------------------------------------------------

void ExchangeMemory::share(cluster::KeeperClient& keeper, const wire::Identity& self) {
  const std::uint32_t worker = self.process.id;
  const cluster::SharedLinks::Title title{.epoch = self.epoch,
                                          .worker = worker,
                                          .incarnation = self.incarnation,
                                          .lanes = static_cast<std::uint32_t>(shards_.lane_count()),
                                          .capacity = ring_frames_};
  const std::size_t floats = 2 * cluster::shared_vector_floats(chunks_.elements());
  using Access = net::SharedMemory::Access;
  try {
    for (const std::string& name : cluster::names_of_worker(worker)) keeper.forget(name);
    outgoing_memory_ = keeper.memory(cluster::outgoing_name(worker, self.incarnation),
                                     outgoing_bytes(), Access::write);
    parameters_memory_ =
        options_.synchronous
            ? keeper.memory(cluster::parameters_name(), floats * sizeof(float), Access::read)
            : keeper.memory(cluster::incoming_name(worker, self.incarnation),
                            floats * sizeof(float), Access::write);
    links_memory_ =
        keeper.memory(cluster::links_name(worker, self.incarnation),
                      cluster::SharedLinks::bytes(title.lanes, title.capacity), Access::write);
    links_ = cluster::SharedLinks::make(links_memory_.bytes(), title);
    bell_ = &links_.bell();
    keeper_ = &keeper;
  } catch (const Error& error) {
    options_.warn(
        fmt::format("no shared memory: {}; it exchanges over the network", error.message()));
  }
}

net::Task<std::optional<ExchangeMemory::Lane>> ExchangeMemory::offer(net::Connection& connection,
                                                                     params::LaneId lane,
                                                                     Duration limit) {
  std::optional<net::Descriptor> wake = wake_of(lane);
  if (!wake) co_return std::nullopt;
  const wire::ShareStatus status = co_await ask_to_share(connection, lane, limit);
  if (status != wire::ShareStatus::shared) co_return std::nullopt;
  const std::size_t index = shards_.index(lane);
  co_return Lane{links_.requests(index), links_.answers(index), std::move(*wake)};
}

// A lane that has not left its descriptor does not share.
std::optional<net::Descriptor> ExchangeMemory::wake_of(params::LaneId lane) {
  try {
    return keeper_->get(cluster::wake_name(lane.server, lane.lane));
  } catch (const Error& error) {
    options_.warn(fmt::format("no shared memory with server {}: {}", lane.server, error.message()));
    return std::nullopt;
  }
}

net::Task<wire::ShareStatus> ExchangeMemory::ask_to_share(net::Connection& connection,
                                                          params::LaneId lane,
                                                          Duration limit) const {
  wire::Header request;
  request.type = wire::FrameType::share;
  request.chunk = static_cast<std::uint32_t>(shards_.index(lane));
  request.step = ring_frames_;
  request.value = outgoing_bytes();
  const wire::HeaderBytes sent = wire::encode(request);
  const net::Deadline deadline(connection, limit);
  wire::HeaderBytes received;
  wire::Header answer;
  bool answered = false;
  try {
    co_await connection.write(sent);
    answered = co_await connection.read(received);
  } catch (const Error&) {
    if (!deadline.expired()) throw;
  }
  if (deadline.expired()) {
    fail(Fault::network, "{} did not answer within {:.1f} s whether it shares memory",
         connection.peer(), seconds(limit));
  }
  if (!answered || wire::decode(received, answer) != wire::HeaderFault::none ||
      answer.type != wire::FrameType::share_ack) {
    fail(Fault::network, "{} did not answer whether it shares memory", connection.peer());
  }
  co_return static_cast<wire::ShareStatus>(answer.status);
}

// ---- where things lie ---------------------------------------------------------------------------

std::span<float> ExchangeMemory::shared_vector(Step clock) const {
  const std::size_t stride = cluster::shared_vector_floats(chunks_.elements());
  return parameters_memory_.floats().subspan(clock % 2 * stride, chunks_.elements());
}

void ExchangeMemory::place(bool in_place) {
  if (!outgoing_memory_) own_outgoing_ = AlignedBuffer<std::byte>(outgoing_bytes());
  outgoing_ = outgoing_memory_ ? outgoing_memory_.bytes() : own_outgoing_.span();
  for (const Step parity : {0U, 1U}) {
    if (!options_.synchronous && shared()) {  // other lanes' answers are received there, too
      own_[parity] = shared_vector(parity);
    } else if (!in_place) {
      own_vectors_[parity] = AlignedBuffer<float>(chunks_.elements());
      own_[parity] = own_vectors_[parity].span();
    }
    vectors_[parity] = own_[parity].empty() ? shared_vector(parity) : own_[parity];
  }
}

void ExchangeMemory::gather(std::uint32_t chunk, Step clock) {
  const std::span<float> to = own(chunk, clock);
  if (to.empty() || !options_.synchronous) return;
  std::ranges::copy(shared_vector(clock).subspan(chunks_[chunk].offset, to.size()), to.begin());
}

}  // namespace sheaf::worker
