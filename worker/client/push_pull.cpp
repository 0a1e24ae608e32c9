#include "worker/client/push_pull.h"

#include <algorithm>
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
      memory_({.workspaces = options_.workspaces,
               .workspace_bytes = options_.workspace_bytes,
               .synchronous = options_.synchronous,
               .warn =
                   [this](const std::string& text) {
                     if (!shutdown_.ended()) options_.warn(text);  // else that is why
                   }},
              chunks, shards),
      arrived_(chunks.size(), 0),
      versions_(chunks.size(), 0),
      superseded_(chunks.size(), false),
      servers_(shards.servers()),
      shared_(shards.lane_count()) {
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
  close_connections();
  // The contexts run dry when all channels have ended: in their threads or, without any or if one
  // has failed, here.
  threads_.clear();
  for (const auto& context : contexts_) {
    context->restart();
    context->run();
  }
}

void PushPull::close_connections() {
  for (const auto& client : clients_) {
    net::asio::post(client->context(), [c = client.get()] { c->close(); });
  }
}

net::asio::io_context& PushPull::context(std::uint32_t lane) { return *contexts_[lane]; }

void PushPull::adopt(params::LaneId lane, net::Connection connection) {
  LaneClient& client = *clients_[shards_.index(lane)];
  client.connection() = std::move(connection);
  client.attach();
}

void PushPull::throw_if_ended(std::string_view doing, std::string_view what) const {
  if (!shutdown_.ended()) return;
  shutdown_.throw_if_failed();
  fail(Fault::network, "the job ended while {} {}", doing, what);
}

std::size_t PushPull::shared_lanes() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(shared_, [](auto& s) { return s != nullptr; }));
}

void PushPull::start() {
  memory_.place(shared_lanes() == shared_.size());
  started_ = true;
  on_end_ = std::make_unique<cluster::Shutdown::Subscription>(shutdown_,
                                                              [this] { memory_.bell().ring(); });
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
  if (shared_[lane] && memory_.seen_at(payload)) {
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
    superseded_[chunk] = false;
  }
  const std::size_t lane = lane_of(chunk);
  const auto values = memory_.own(chunk, clock);
  if (shared_[lane]) return shared_[lane]->pull(clock, chunk, values);
  LaneClient& client = *clients_[lane];
  if (pull_.identity()) {
    return client.submit(
        {FrameType::pull, clock, chunk, options_.hosted, 0, {}, std::as_writable_bytes(values)});
  }
  std::span<const float> before;
  if (options_.pull_feedback && clock != 0) {
    const std::lock_guard lock(mutex_);
    if (arrived_[chunk] == clock) before = memory_.own(chunk, clock - 1);
  }
  const Version next = before.empty() ? 0 : clock;
  client.submit({FrameType::pull,
                 clock,
                 chunk,
                 options_.hosted,
                 next,
                 {},
                 client.staging(chunk, values, before)});
}

void PushPull::pull_again(Step clock, std::uint32_t chunk) {
  {
    const std::lock_guard lock(mutex_);
    check(arrived_[chunk] == clock + 1, "a chunk is pulled again when it has arrived");
    arrived_[chunk] = clock;
  }
  pull(clock, chunk);
}

void PushPull::flush() {
  for (const auto& client : clients_) client->flush();
  for_shared([](SharedLane& lane) { lane.flush(); });
}

template <typename Body>
void PushPull::for_shared(Body body) const {
  for (const auto& lane : shared_) {
    if (lane) body(*lane);
  }
}

bool PushPull::poll_shared() {
  bool any = false;
  for_shared([&](SharedLane& lane) { any |= lane.poll(); });
  return any;
}

// ---- waits --------------------------------------------------------------------------------------

template <typename Ready>
bool PushPull::wait(Awaited awaited, Ready ready, std::optional<TimePoint> until) {
  const char* what = awaited == Awaited::parameters ? "parameters" : "acknowledgements";
  const auto is_ready = [&] {
    const std::lock_guard lock(mutex_);
    return ready();
  };
  flush();
  poll_shared();
  if (is_ready()) return true;
  const Elapsed before = clocks();
  const auto since = std::chrono::steady_clock::now();
  net::Doorbell& bell = memory_.bell();
  auto warn_at = since + options_.stall_warning;
  spin_.start(since);
  bool slept = false;
  bool over = true;
  while (true) {
    const std::uint32_t seen = bell.count();
    const bool moved = poll_shared();
    if (is_ready()) {
      if (!slept) spin_.found();
      break;
    }
    throw_if_ended("waiting for", what);
    const auto now = std::chrono::steady_clock::now();
    if (until && (now >= *until || nudged_.exchange(false))) {
      over = false;
      break;
    }
    if (moved) spin_.start(now);
    if (spin_.look(now)) {
      net::spin_pause();
      continue;
    }
    slept = true;
    for_shared([&](SharedLane& lane) { lane.ask_wake(awaited); });
    if (!poll_shared()) bell.wait(seen, std::min(warn_at, until.value_or(warn_at)));
    for_shared([](SharedLane& lane) { lane.stay_awake(); });
    if (std::chrono::steady_clock::now() < warn_at) continue;
    warn_at += options_.stall_warning;
    options_.warn(fmt::format("has waited {:.0f} s for {}; oldest without an answer: {}",
                              seconds(std::chrono::steady_clock::now() - since), what, oldest()));
  }
  waited_ = waited_ + (clocks() - before);
  return over;
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

void PushPull::wait_arrived(std::size_t begin, std::size_t end, Step clock) {
  std::size_t chunk = chunks_.holding(begin);
  wait(Awaited::parameters, [&] {
    while (chunk < chunks_.size() && chunks_[chunk].offset < end && arrived_[chunk] >= clock + 1) {
      ++chunk;
    }
    return chunk == chunks_.size() || chunks_[chunk].offset >= end;
  });
}

void PushPull::wait_settled() { settle(std::nullopt); }

bool PushPull::settle(std::optional<TimePoint> until) {
  std::vector<Partial> partials;
  for (bool done = false; !done;) {
    const auto changed = [&] { return unsettled_ == 0 || !partials_.empty(); };
    if (!wait(Awaited::acknowledgements, changed, until)) return false;
    {
      const std::lock_guard lock(mutex_);
      partials.swap(partials_);
      done = partials.empty();
    }
    for (const Partial& p : partials) resend_(p.step, p.chunk, p.missing);
    partials.clear();
  }
  return true;
}

bool PushPull::is_at(Step clock) const {
  return std::ranges::all_of(arrived_, [&](Step arrived) { return arrived >= clock + 1; });
}

bool PushPull::all_arrived(Step clock) {
  poll_shared();
  const std::lock_guard lock(mutex_);
  return is_at(clock);
}

bool PushPull::wait_over(Step clock, TimePoint until) {
  return settle(until) && wait(Awaited::parameters, [&] { return is_at(clock); }, until);
}

void PushPull::nudge() {
  nudged_.store(true);
  memory_.bell().ring();
}

void PushPull::arrived(std::uint32_t chunk, Step clock, Version version) {
  {
    const std::lock_guard lock(mutex_);
    versions_[chunk] = version;
    arrived_[chunk] = std::max(arrived_[chunk], clock + 1);
    if (--awaited_ == 0 && std::exchange(exchanging_, false)) {
      exchanged_ += std::chrono::steady_clock::now() - exchange_began_;
    }
  }
  memory_.bell().ring();
}

void PushPull::superseded(std::uint32_t chunk) {
  const std::lock_guard lock(mutex_);
  superseded_[chunk] = true;
}

void PushPull::settled() {
  {
    const std::lock_guard lock(mutex_);
    if (--unsettled_ != 0) return;
  }
  memory_.bell().ring();
}

void PushPull::partial(Partial partial) {
  {
    const std::lock_guard lock(mutex_);
    partials_.push_back(std::move(partial));
    --unsettled_;
  }
  memory_.bell().ring();
}

Version PushPull::version(std::uint32_t chunk) const {
  const std::lock_guard lock(mutex_);
  return versions_[chunk];
}

bool PushPull::is_superseded(std::uint32_t chunk) const {
  const std::lock_guard lock(mutex_);
  return superseded_[chunk];
}

double PushPull::exchange_seconds() const {
  const std::lock_guard lock(mutex_);
  return seconds(exchanged_);
}

wire::Traffic PushPull::traffic() const {
  wire::Traffic total;
  for (const auto& client : clients_) total += client->traffic();
  for_shared([&](const SharedLane& lane) { total += lane.traffic(); });
  return total;
}

}  // namespace sheaf::worker
