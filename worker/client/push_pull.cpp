#include "worker/client/push_pull.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "worker/client/lane_client.h"
#include "worker/client/shared_lane.h"

namespace sheaf::worker {

using wire::FrameType;

PushPull::PushPull(Options options, const params::ChunkMap& chunks, const params::ShardMap& shards,
                   const compression::Compressor& pull, cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      chunks_(chunks),
      shards_(shards),
      pull_(pull),
      shutdown_(shutdown),
      spin_(options_.spin),
      arrived_(chunks.size(), 0),
      shared_(shards.lane_count()) {
  constexpr std::size_t kPage = 4096;
  if (options_.workspace_bytes == 0) options_.workspace_bytes = chunks.elements() * sizeof(float);
  stride_ = (options_.workspace_bytes + kPage - 1) / kPage * kPage;
  for (std::uint32_t lane = 0; lane < shards.lanes(); ++lane) {
    contexts_.push_back(std::make_unique<net::asio::io_context>(1));
  }
  for (std::uint32_t server = 0; server < shards.servers(); ++server) {
    for (std::uint32_t lane = 0; lane < shards.lanes(); ++lane) {
      clients_.push_back(std::make_unique<LaneClient>(
          *this, params::LaneId{server, lane}, *contexts_[lane], fmt::format("server {}", server)));
    }
  }
}

PushPull::~PushPull() { stop(); }

void PushPull::stop() {
  if (std::exchange(stopped_, true)) return;
  on_end_.reset();
  for (const auto& client : clients_) {
    net::asio::post(client->context(), [c = client.get()] { c->close(); });
  }
  // The contexts run dry when all channels have ended: in their threads or, without any or if one
  // has failed, here.
  threads_.clear();
  for (const auto& context : contexts_) {
    context->restart();
    context->run();
  }
}

net::asio::io_context& PushPull::context(std::uint32_t lane) { return *contexts_[lane]; }

void PushPull::adopt(params::LaneId lane, net::Connection connection) {
  clients_[shards_.index(lane)]->attach(std::move(connection));
}

// ---- connecting, and what is shared -------------------------------------------------------------

net::Task<void> PushPull::join(LaneClient& client, const wire::ProcessInfo& server) {
  const params::LaneId lane = client.lane();
  net::Credentials credentials = options_.credentials;
  credentials.self.lane = lane.lane;
  const net::Endpoint endpoint{server.address, server.ports.at(lane.lane)};
  const ProcessId whom{Role::server, lane.server};
  net::Connection connection =
      co_await net::connect(client.context(), endpoint, to_string(whom), options_.dead_limit);
  co_await net::greet(connection, credentials, whom, options_.dead_limit);
  const std::size_t index = shards_.index(lane);
  if (links_memory_ && server.host_id == options_.host_id) {
    std::optional<net::Descriptor> wake = wake_of(lane);
    if (wake) {
      const wire::ShareStatus status = co_await ask_to_share(connection, index);
      if (status == wire::ShareStatus::shared) share_lane(index, std::move(*wake));
    }
  }
  client.attach(std::move(connection));
}

void PushPull::connect(const std::vector<wire::ProcessInfo>& servers) {
  if (options_.keeper != nullptr && pull_.identity()) make_shared_memory();
  for (const auto& client : clients_) {
    bool done = false;
    std::exception_ptr failure;
    net::asio::co_spawn(client->context(), join(*client, servers.at(client->lane().server)),
                        [&](std::exception_ptr error) {
                          failure = error;
                          done = true;
                        });
    // Run only until this connection stands; its channel goes on when the threads start.
    while (!done) client->context().run_one();
    client->context().restart();
    if (failure) std::rethrow_exception(failure);
  }
}

void PushPull::make_shared_memory() {
  const wire::Identity& self = options_.credentials.self;
  std::size_t most = 0;  // chunks of a lane
  for (const auto& client : clients_) {
    most = std::max(most, shards_.chunks_of(client->lane()).size());
  }
  // A step's pushes, pulls and ends of every workspace; a partial push is answered in words.
  most_open_ = 2 * (options_.workspaces + 1) * (most + 1) + 16;
  ring_frames_ = std::bit_ceil(most_open_ * (options_.hosted.count / 64 + 1));
  const cluster::SharedLinks::Title title{.epoch = self.epoch,
                                          .worker = self.process.id,
                                          .incarnation = self.incarnation,
                                          .lanes = static_cast<std::uint32_t>(clients_.size()),
                                          .capacity = ring_frames_};
  using Access = net::SharedMemory::Access;
  try {
    cluster::KeeperClient& keeper = *options_.keeper;
    outgoing_memory_ = keeper.memory(cluster::outgoing_name(self.process.id, self.incarnation),
                                     options_.workspaces * stride_, Access::write);
    parameters_memory_ = keeper.memory(
        cluster::parameters_name(),
        2 * cluster::shared_vector_floats(chunks_.elements()) * sizeof(float), Access::read);
    links_memory_ =
        keeper.memory(cluster::links_name(self.process.id, self.incarnation),
                      cluster::SharedLinks::bytes(clients_.size(), ring_frames_), Access::write);
    links_ = cluster::SharedLinks::make(links_memory_.bytes(), title);
    bell_ = &links_.bell();
  } catch (const Error& error) {
    options_.warn(
        fmt::format("no shared memory: {}; it exchanges over the network", error.message()));
  }
}

// Over a connection that has proved the key: shared memory between those who know each other.
net::Task<wire::ShareStatus> PushPull::ask_to_share(net::Connection& connection,
                                                    std::size_t lane) const {
  wire::Header request;
  request.type = FrameType::share;
  request.chunk = static_cast<std::uint32_t>(lane);
  request.step = ring_frames_;
  request.value = options_.workspaces * stride_;
  const wire::HeaderBytes sent = wire::encode(request);
  // Outlives this coroutine: the handler of a timer that has expired runs although it is cancelled.
  const auto over = std::make_shared<bool>(false);
  const struct AtEnd {
    bool& over;
    ~AtEnd() { over = true; }
  } at_end{*over};
  net::asio::steady_timer deadline(connection.executor(), options_.share_limit);
  deadline.async_wait([&connection, over](const net::ErrorCode& cancelled) {
    if (!cancelled && !*over) connection.close();
  });
  co_await connection.write(sent);
  wire::HeaderBytes received;
  wire::Header answer;
  const bool answered = co_await connection.read(received);
  if (!answered || wire::decode(received, answer) != wire::HeaderFault::none ||
      answer.type != FrameType::share_ack) {
    fail(Fault::network, "{} did not answer whether it shares memory", connection.peer());
  }
  co_return static_cast<wire::ShareStatus>(answer.status);
}

// A lane that has not left its descriptor does not share.
std::optional<net::Descriptor> PushPull::wake_of(params::LaneId lane) {
  try {
    return options_.keeper->get(cluster::wake_name(lane.server, lane.lane));
  } catch (const Error& error) {
    options_.warn(fmt::format("no shared memory with server {}: {}", lane.server, error.message()));
    return std::nullopt;
  }
}

void PushPull::share_lane(std::size_t lane, net::Descriptor wake) {
  const params::LaneId id = clients_[lane]->lane();
  const std::size_t stride = cluster::shared_vector_floats(chunks_.elements());
  SharedLane::Memory memory;
  memory.requests = links_.requests(lane);
  memory.answers = links_.answers(lane);
  memory.most_open = most_open_;
  memory.wake = std::move(wake);
  memory.outgoing = outgoing_memory_.bytes();
  for (std::size_t parity : {0U, 1U}) {
    memory.vectors[parity] =
        parameters_memory_.floats().subspan(parity * stride, chunks_.elements());
  }
  shared_[lane] = std::make_unique<SharedLane>(*this, id, std::move(memory));
}

std::size_t PushPull::shared_lanes() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(shared_, [](auto& s) { return s != nullptr; }));
}

// Parameters are read where the servers write them if all do so on this host; else they are
// gathered in vectors of our own.
void PushPull::place_vectors() {
  if (!outgoing_memory_) own_outgoing_ = AlignedBuffer<std::byte>(options_.workspaces * stride_);
  const bool in_place = shared_lanes() == shared_.size();
  const std::size_t stride = cluster::shared_vector_floats(chunks_.elements());
  for (std::size_t parity : {0U, 1U}) {
    if (in_place) {
      vectors_[parity] = parameters_memory_.floats().subspan(parity * stride, chunks_.elements());
    } else {
      own_vectors_[parity] = AlignedBuffer<float>(chunks_.elements());
      vectors_[parity] = own_vectors_[parity].span();
    }
  }
  for (const auto& lane : shared_) {
    if (lane) lane->read_in_place(in_place);
  }
}

std::span<std::byte> PushPull::workspace(std::size_t index) const {
  const std::span<std::byte> all =
      outgoing_memory_
          ? outgoing_memory_.bytes()
          : std::span(const_cast<std::byte*>(own_outgoing_.data()), own_outgoing_.size());
  return all.subspan(index * stride_, options_.workspace_bytes);
}

std::span<float> PushPull::place(std::uint32_t chunk, Version version) {
  const std::span<float> own = own_vectors_[version % 2].span();
  return own.empty() ? own : own.subspan(chunks_[chunk].offset, chunks_[chunk].size);
}

void PushPull::start() {
  place_vectors();
  on_end_ = std::make_unique<cluster::Shutdown::Subscription>(shutdown_, [this] { bell_->ring(); });
  for (const auto& context : contexts_) {
    threads_.emplace_back([this, c = context.get()] {
      try {
        c->run();
      } catch (...) {
        shutdown_.fail(std::current_exception());
      }
    });
  }
}

// ---- requests -----------------------------------------------------------------------------------

void PushPull::init(std::span<const float> parameters) {
  {
    const std::lock_guard lock(mutex_);
    unsettled_ += chunks_.size();
  }
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    const auto values = parameters.subspan(chunks_[c].offset, chunks_[c].size);
    clients_[lane_of(c)]->submit({FrameType::init, 0, c, {}, 0, std::as_bytes(values), {}});
  }
}

void PushPull::push(Step step, std::uint32_t chunk, PartitionRange node, std::uint64_t examples,
                    std::span<const std::byte> payload, bool needed_back) {
  {
    const std::lock_guard lock(mutex_);
    ++unsettled_;
    if (!std::exchange(exchanging_, true)) exchange_began_ = std::chrono::steady_clock::now();
  }
  const std::size_t lane = lane_of(chunk);
  if (shared_[lane] && shared_[lane]->reaches(payload)) {
    using Lend = Exchange::Lend;
    return shared_[lane]->push(step, chunk, node, examples, payload,
                               needed_back ? Lend::needed_back : Lend::until_applied);
  }
  clients_[lane]->submit({FrameType::push, step, chunk, node, examples, payload, {}});
}

void PushPull::end(Step step, PartitionRange node, std::uint64_t examples) {
  {
    const std::lock_guard lock(mutex_);
    unsettled_ += clients_.size();
  }
  for (std::size_t lane = 0; lane < clients_.size(); ++lane) {
    if (shared_[lane]) {
      shared_[lane]->end(step, node, examples);
    } else {
      clients_[lane]->submit({FrameType::end, step, 0, node, examples, {}, {}});
    }
  }
  flush();
}

void PushPull::pull(Step clock, std::uint32_t chunk) {
  {
    const std::lock_guard lock(mutex_);
    ++awaited_;
  }
  const std::size_t lane = lane_of(chunk);
  const auto values = place(chunk, clock);
  if (shared_[lane]) return shared_[lane]->pull(clock, chunk, values);
  LaneClient& client = *clients_[lane];
  const auto into =
      pull_.identity() ? std::as_writable_bytes(values) : client.staging(chunk, values);
  client.submit({FrameType::pull, clock, chunk, options_.hosted, 0, {}, into});
}

void PushPull::flush() {
  for (const auto& client : clients_) client->flush();
  for (const auto& lane : shared_) {
    if (lane) lane->flush();
  }
}

bool PushPull::poll_shared() {
  bool any = false;
  for (const auto& lane : shared_) {
    if (lane) any |= lane->poll();
  }
  return any;
}

// ---- waits --------------------------------------------------------------------------------------

template <typename Ready>
void PushPull::wait(Ready ready, const char* what) {
  const auto is_ready = [&] {
    const std::lock_guard lock(mutex_);
    return ready();
  };
  flush();
  poll_shared();
  if (is_ready()) return;
  const Elapsed before = clocks();
  const auto since = std::chrono::steady_clock::now();
  auto warn_at = since + options_.stall_warning;
  spin_.start(since);
  bool slept = false;
  while (true) {
    const std::uint32_t seen = bell_->count();
    const bool moved = poll_shared();
    if (is_ready()) {
      if (!slept) spin_.found();
      break;
    }
    if (shutdown_.ended()) {
      shutdown_.throw_if_failed();
      fail(Fault::network, "the job ended while waiting for {}", what);
    }
    const auto now = std::chrono::steady_clock::now();
    if (moved) spin_.start(now);
    if (spin_.look(now)) {
      net::spin_pause();
      continue;
    }
    slept = true;
    bell_->wait(seen, warn_at);
    if (std::chrono::steady_clock::now() < warn_at) continue;
    warn_at += options_.stall_warning;
    options_.warn(fmt::format("has waited {:.0f} s for {}; oldest without an answer: {}",
                              seconds(std::chrono::steady_clock::now() - since), what, oldest()));
  }
  waited_ = waited_ + (clocks() - before);
}

std::string PushPull::oldest() const {
  for (std::size_t lane = 0; lane < clients_.size(); ++lane) {
    const auto& shared = shared_[lane];
    const auto header = shared ? shared->oldest() : clients_[lane]->oldest();
    if (!header) continue;
    return fmt::format("{} of step {}, chunk {}, to server {}", to_string(header->type),
                       header->step, header->chunk, clients_[lane]->lane().server);
  }
  return "none";
}

void PushPull::wait_arrived(std::size_t begin, std::size_t end, Version version) {
  std::size_t chunk = chunks_.holding(begin);
  wait(
      [&] {
        while (chunk < chunks_.size() && chunks_[chunk].offset < end &&
               arrived_[chunk] >= version + 1) {
          ++chunk;
        }
        return chunk == chunks_.size() || chunks_[chunk].offset >= end;
      },
      "parameters");
}

void PushPull::wait_settled() {
  std::vector<Partial> partials;
  for (bool done = false; !done;) {
    wait([&] { return unsettled_ == 0 || !partials_.empty(); }, "acknowledgements");
    {
      const std::lock_guard lock(mutex_);
      partials.swap(partials_);
      done = partials.empty();
    }
    for (const Partial& p : partials) resend_(p.step, p.chunk, p.missing);
    partials.clear();
  }
}

void PushPull::arrived(std::uint32_t chunk, Version version) {
  {
    const std::lock_guard lock(mutex_);
    arrived_[chunk] = std::max(arrived_[chunk], version + 1);
    if (--awaited_ == 0 && std::exchange(exchanging_, false)) {
      exchanged_ += std::chrono::steady_clock::now() - exchange_began_;
    }
  }
  bell_->ring();
}

void PushPull::settled() {
  {
    const std::lock_guard lock(mutex_);
    if (--unsettled_ != 0) return;
  }
  bell_->ring();
}

void PushPull::partial(Partial partial) {
  {
    const std::lock_guard lock(mutex_);
    partials_.push_back(std::move(partial));
    --unsettled_;
  }
  bell_->ring();
}

double PushPull::exchange_seconds() const {
  const std::lock_guard lock(mutex_);
  return seconds(exchanged_);
}

TrafficCount PushPull::traffic() const {
  TrafficCount total;
  const auto add = [&](const TrafficCount& t) {
    total.push_bytes += t.push_bytes;
    total.pull_bytes += t.pull_bytes;
    total.push_bytes_raw += t.push_bytes_raw;
    total.pull_bytes_raw += t.pull_bytes_raw;
  };
  for (const auto& client : clients_) add(client->traffic());
  for (const auto& lane : shared_) {
    if (lane) add(lane->traffic());
  }
  return total;
}

}  // namespace sheaf::worker
