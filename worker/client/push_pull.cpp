#include "worker/client/push_pull.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "worker/client/lane_client.h"

namespace sheaf::worker {

using wire::FrameType;

namespace {

net::Task<void> join(LaneClient& client, net::Endpoint endpoint, net::Credentials credentials,
                     std::string server, Duration limit) {
  net::Connection connection = co_await net::connect(client.context(), endpoint, server, limit);
  co_await net::greet(connection, credentials, limit);
  client.attach(std::move(connection));
}

}  // namespace

PushPull::PushPull(Options options, const params::ChunkMap& chunks, const params::ShardMap& shards,
                   const compression::Compressor& pull, cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      chunks_(chunks),
      shards_(shards),
      pull_(pull),
      shutdown_(shutdown),
      arrived_(chunks.size(), 0) {
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

void PushPull::connect(const std::vector<wire::ProcessInfo>& servers) {
  for (const auto& client : clients_) {
    const params::LaneId lane = client->lane();
    const wire::ProcessInfo& info = servers.at(lane.server);
    const net::Endpoint endpoint{info.address, info.ports.at(lane.lane)};
    net::Credentials credentials = options_.credentials;
    credentials.self.lane = lane.lane;

    bool done = false;
    std::exception_ptr failure;
    net::asio::co_spawn(client->context(),
                        join(*client, endpoint, credentials, fmt::format("server {}", lane.server),
                             options_.dead_limit),
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

void PushPull::start() {
  on_end_ = std::make_unique<cluster::Shutdown::Subscription>(shutdown_, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
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

LaneClient& PushPull::client(std::uint32_t chunk) {
  return *clients_[shards_.index(shards_.at(chunk))];
}

void PushPull::init(std::span<const float> parameters) {
  {
    const std::lock_guard lock(mutex_);
    unsettled_ += chunks_.size();
  }
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    const auto values = parameters.subspan(chunks_[c].offset, chunks_[c].size);
    client(c).submit({FrameType::init, 0, c, {}, 0, std::as_bytes(values), {}});
  }
}

void PushPull::push(Step step, std::uint32_t chunk, PartitionRange node, std::uint64_t examples,
                    std::span<const std::byte> payload) {
  {
    const std::lock_guard lock(mutex_);
    ++unsettled_;
    if (!std::exchange(exchanging_, true)) exchange_began_ = std::chrono::steady_clock::now();
  }
  client(chunk).submit({FrameType::push, step, chunk, node, examples, payload, {}});
}

void PushPull::end(Step step, PartitionRange node, std::uint64_t examples) {
  {
    const std::lock_guard lock(mutex_);
    unsettled_ += clients_.size();
  }
  for (const auto& client : clients_) {
    client->submit({FrameType::end, step, 0, node, examples, {}, {}});
  }
}

void PushPull::pull(Step clock, std::uint32_t chunk, std::span<float> parameters) {
  {
    const std::lock_guard lock(mutex_);
    ++awaited_;
  }
  LaneClient& lane = client(chunk);
  const auto values = parameters.subspan(chunks_[chunk].offset, chunks_[chunk].size);
  lane.submit({FrameType::pull,
               clock,
               chunk,
               options_.hosted,
               0,
               {},
               pull_.identity() ? std::as_writable_bytes(values) : lane.staging(chunk, values)});
}

// ---- waits --------------------------------------------------------------------------------------

template <typename Ready>
void PushPull::wait(Ready ready, const char* what) {
  std::unique_lock lock(mutex_);
  if (ready()) return;
  const auto since = std::chrono::steady_clock::now();
  auto warn_at = since + options_.stall_warning;
  while (!ready()) {
    if (shutdown_.ended()) {
      lock.unlock();
      shutdown_.throw_if_failed();
      fail(Fault::network, "the job ended while waiting for {}", what);
    }
    changed_.wait_until(lock, warn_at);
    if (ready() || std::chrono::steady_clock::now() < warn_at) continue;
    warn_at += options_.stall_warning;
    std::string open;
    for (const auto& client : clients_) {
      if (const std::string text = client->oldest(); !text.empty() && open.empty()) open = text;
    }
    lock.unlock();
    options_.warn(fmt::format("has waited {:.0f} s for {}; oldest without an answer: {}",
                              seconds(std::chrono::steady_clock::now() - since), what,
                              open.empty() ? "none" : open));
    lock.lock();
  }
  waited_ += std::chrono::steady_clock::now() - since;
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
  changed_.notify_one();
}

void PushPull::settled() {
  {
    const std::lock_guard lock(mutex_);
    if (--unsettled_ != 0) return;
  }
  changed_.notify_one();
}

void PushPull::partial(Partial partial) {
  {
    const std::lock_guard lock(mutex_);
    partials_.push_back(std::move(partial));
    --unsettled_;
  }
  changed_.notify_one();
}

double PushPull::exchange_seconds() const {
  const std::lock_guard lock(mutex_);
  return seconds(exchanged_);
}

TrafficCount PushPull::traffic() const {
  TrafficCount total;
  for (const auto& client : clients_) {
    const TrafficCount t = client->traffic();
    total.push_bytes += t.push_bytes;
    total.pull_bytes += t.pull_bytes;
    total.push_bytes_raw += t.push_bytes_raw;
    total.pull_bytes_raw += t.pull_bytes_raw;
  }
  return total;
}

}  // namespace sheaf::worker
