#include "server/lane.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/shared_links.h"
#include "server/checkpoint/checkpointer.h"
#include "server/replica/replica_session.h"
#include "server/session.h"
#include "server/shared_session.h"

namespace sheaf::server {
namespace {

// SessionIds from here on are those of shared memory.
constexpr SessionId kShared = SessionId{1} << 31;

// While it spins, a lane looks at its sockets once in so many looks at its rings.
constexpr unsigned kLooksPerPoll = 32;

}  // namespace

Lane::Lane(Options options, cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      shutdown_(shutdown),
      wake_(context_),
      door_({.lane = options_.id,
             .epoch = options_.credentials.self.epoch,
             .servers = options_.on_server ? options_.servers : 0,
             .workers = options_.workers}),
      watch_(context_) {
  options_.credentials.self.lane = options_.id;
  entrance_.emplace(
      Entrance::Options{
          .credentials = options_.credentials,
          .handshake_limit = options_.handshake_limit,
          .silence_limit = options_.silence_limit,
          .enter = [this](net::Connection connection,
                          const wire::Identity& peer) { enter(std::move(connection), peer); },
          .warn = options_.warn},
      context_, door_, shutdown_);
}

Lane::~Lane() = default;

net::Endpoint Lane::bind(const std::string& address, net::PortRange ports) {
  return entrance_->bind(address, ports);
}

void Lane::open(const ShardParts& parts) {
  shard_ = std::make_unique<Shard>(parts, *this);
  chunks_ = static_cast<std::uint32_t>(parts.shards.chunks_of(parts.lane).size());
}

void Lane::share(cluster::KeeperClient& keeper, std::size_t lanes, std::size_t incoming,
                 Duration spin) {
  const net::Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) fail(Fault::internal, "lane {}: no eventfd", options_.id);
  keeper.put(cluster::wake_name(options_.credentials.self.process.id, options_.id), event);
  net::Descriptor own = event.duplicate();
  wake_.assign(own.release());
  keeper_ = &keeper;
  lanes_of_job_ = lanes;
  incoming_bytes_ = incoming;
  spin_ = net::Spin(spin);
}

void Lane::await_wake() {
  wake_.async_read_some(net::asio::buffer(&wake_count_, sizeof wake_count_),
                        [this](const net::ErrorCode& error, std::size_t) {
                          if (!error) await_wake();
                        });
}

void Lane::run() {
  auto work = net::asio::make_work_guard(context_);
  const cluster::Shutdown::Subscription on_end(shutdown_, [&] {
    net::asio::post(context_, [&] {
      close_all();
      work.reset();
    });
  });
  if (backup_) backup_->start();
  if (!backup_ || !backup_->adopts()) entrance_->open();
  if (options_.scalar_limit > Duration{0}) {
    net::asio::co_spawn(context_, watch_scalars(), [this](std::exception_ptr error) {
      if (error) shutdown_.fail(error);
    });
  }
  if (keeper_ != nullptr) await_wake();
  loop();
}

// As context_.run(), and looks into the rings of workers that share memory: for a while without
// sleeping, then whenever one of them wakes us.
void Lane::loop() {
  unsigned looks = 0;
  bool idle = false;
  while (!context_.stopped()) {
    copying_ = Duration{0};
    if (polled_.empty()) {
      context_.run_one();
      if (!departed_.empty()) release_departed();
      continue;
    }
    bool busy = poll_shared();
    if (++looks % kLooksPerPoll == 0) busy |= context_.poll() != 0;
    if (busy) {
      if (std::exchange(idle, false)) spin_.found();
      continue;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!std::exchange(idle, true)) spin_.start(now);
    if (spin_.look(now)) {
      net::spin_pause();
    } else {
      for (SharedSession* session : polled_) session->ask_wake();
      if (!poll_shared()) context_.run_one();
      for (SharedSession* session : polled_) session->stay_awake();
      idle = false;
    }
  }
}

bool Lane::poll_shared() {
  bool any = false;
  for (std::size_t i = 0; i < polled_.size(); ++i) {
    SharedSession& session = *polled_[i];
    try {
      any |= session.poll();
    } catch (...) {
      const SessionId wire = session.wire();
      std::erase(polled_, &session);
      shard_->on_closed(session.id());
      departed_.push_back(session.id());
      sessions_[wire]->fail(std::current_exception());
    }
  }
  for (SharedSession* session : polled_) session->ring();
  if (!departed_.empty()) release_departed();
  return any;
}

void Lane::release_departed() {
  std::erase_if(departed_, [&](SessionId id) {
    if (shard_->reads_from(id)) return false;
    shared_[id - kShared].reset();
    return true;
  });
}

wire::ShareStatus Lane::open_shared(Session& session, const wire::Header& header) {
  constexpr std::uint64_t kMostFrames = std::uint64_t{1} << 20;
  if (keeper_ == nullptr || header.step > kMostFrames) return wire::ShareStatus::refused;
  const std::uint32_t worker = session.peer().id;
  const std::uint32_t incarnation = session.incarnation();
  const auto is_its = [&](const SharedSession* s) { return s->wire() == session.id(); };
  if (std::ranges::any_of(polled_, is_its)) {
    fail(Fault::network, "a second share over one connection");
  }
  const cluster::SharedLinks::Title title{.epoch = options_.credentials.self.epoch,
                                          .worker = worker,
                                          .incarnation = incarnation,
                                          .lanes = static_cast<std::uint32_t>(lanes_of_job_),
                                          .capacity = header.step};
  if (header.chunk >= lanes_of_job_ || header.step == 0) {
    fail(Fault::network, "share of lane {} of {} with rings of {} frames", header.chunk,
         lanes_of_job_, header.step);
  }
  using Access = net::SharedMemory::Access;
  try {
    SharedSession::Memory memory;
    memory.lane = header.chunk;
    memory.links =
        keeper_->memory(cluster::links_name(worker, incarnation),
                        cluster::SharedLinks::bytes(lanes_of_job_, header.step), Access::write);
    memory.outgoing =
        keeper_->memory(cluster::outgoing_name(worker, incarnation), header.value, Access::read);
    if (incoming_bytes_ != 0) {
      memory.incoming = keeper_->memory(cluster::incoming_name(worker, incarnation),
                                        incoming_bytes_, Access::write);
    }
    const auto links = cluster::SharedLinks::open(memory.links.bytes(), title);
    const auto id = kShared + static_cast<SessionId>(shared_.size());
    shared_.push_back(
        std::make_unique<SharedSession>(id, session.id(), std::move(memory), links, *shard_));
    polled_.push_back(shared_.back().get());
    return wire::ShareStatus::shared;
  } catch (const Error& error) {
    options_.warn(fmt::format("lane {}: no shared memory with {}: {}; it goes on over the network",
                              options_.id, to_string(session.peer()), error.message()));
    return wire::ShareStatus::refused;
  }
}

// Somebody who belongs here.
void Lane::enter(net::Connection connection, const wire::Identity& peer) {
  if (peer.process.role == Role::server && peer.lane == kScalarLane) {
    options_.on_server(std::move(connection), peer.process);
  } else if (peer.process.role == Role::server) {
    adopt_primary(std::move(connection), peer.process);
  } else {
    adopt(std::move(connection), peer.process, peer.incarnation);
  }
}

void Lane::back_up(BackupLink::Options options) {
  options.lane = options_.id;
  opens_late_ = options.adopt;
  options.credentials = options_.credentials;
  options.limit = options_.silence_limit;
  options.warn = options_.warn;
  options.on_adopted = [this, done = std::move(options.on_adopted)] {
    if (begin_restoring_) {
      begin_restoring_();
    } else {
      entrance_->open();
    }
    done();
  };
  backup_ = std::make_unique<BackupLink>(std::move(options), context_, *shard_, shutdown_);
}

void Lane::keep_replica(const wire::ProcessInfo& server, const Replica::Parts& parts, bool whole) {
  replicas_.emplace(server.process.id, Replica(parts, whole));
  door_.expect_primary(server.process.id, server.incarnation);
}

void Lane::moved(const wire::ProcessInfo& server) {
  in_thread([this, server] {
    if (backup_ && backup_->whom() == server.process) backup_->move_to(server);
  });
}

void Lane::backup_waits() {
  if (backup_) backup_->wake();
}

void Lane::backup_answered() {
  if (questions_.empty() || !shard_->knows_clocks()) return;
  for (const auto& ask : std::exchange(questions_, {})) ask();
}

void Lane::adopt_primary(net::Connection connection, ProcessId primary) {
  for (const auto& session : primaries_) {
    if (session->primary() == primary) session->close();  // its newer self has come
  }
  primaries_.push_back(std::make_unique<ReplicaSession>(
      primary, std::move(connection), replicas_.at(primary.id),
      [this](ReplicaSession& session, std::exception_ptr error) {
        if (error && !closing_) {
          // Whether it is lost is for others to judge; it is without effect here.
          options_.warn(fmt::format("lane {}, replica of {}: {}", options_.id,
                                    to_string(session.primary()), describe(error).second));
        }
        net::asio::post(context_, [this, &session] {
          std::erase_if(primaries_, [&](const auto& s) { return s.get() == &session; });
        });
      }));
  primaries_.back()->start();
}

void Lane::adopt(net::Connection connection, ProcessId worker, std::uint32_t incarnation) {
  for (const auto& session : sessions_) {
    if (session && session->peer() == worker) end(*session);  // its newer self has come
  }
  std::size_t id = 0;
  while (id < sessions_.size() && sessions_[id]) ++id;
  if (id == sessions_.size()) sessions_.emplace_back();
  sessions_[id] = std::make_unique<Session>(
      static_cast<SessionId>(id), worker, incarnation, std::move(connection), *shard_,
      [this](Session& session, const wire::Header& header) { return open_shared(session, header); },
      [this](Session& session, std::exception_ptr error) { on_closed(session, error); });
  sessions_[id]->start();
}

// From now on it gets no word in, by wire or through its rings.
void Lane::end(Session& session) {
  session.close();
  take_leave(session);
}

// Of one that is closed; may be called again.
void Lane::take_leave(const Session& session) {
  shard_->on_closed(session.id());
  std::erase_if(polled_, [&](SharedSession* shared) {
    if (shared->wire() != session.id()) return false;
    shard_->on_closed(shared->id());
    departed_.push_back(shared->id());
    return true;
  });
}

void Lane::on_closed(Session& session, std::exception_ptr error) {
  take_leave(session);
  if (error && !closing_) {
    // A worker that is gone is the coordinator's to judge; one that breaks the rules ends the job,
    // as does a sum that is not finite, to which every worker has added.
    try {
      std::rethrow_exception(error);
    } catch (const net::ConnectionLost& lost) {
      options_.warn(fmt::format("lane {}: {}", options_.id, lost.message()));
    } catch (...) {
      const auto [fault, text] = describe(error);
      if (fault != Fault::network) return shutdown_.fail(error);
      shutdown_.fail(std::make_exception_ptr(cluster::PeerFault(
          session.peer(), fault,
          fmt::format("{}, noticed by {}", text, to_string(options_.credentials.self.process)),
          std::source_location::current())));
    }
  }
  // The channel that calls us is a member of the session: let it return first.
  net::asio::post(context_, [this, id = session.id()] { sessions_[id].reset(); });
}

void Lane::close_all() {
  closing_ = true;
  watch_.cancel();
  wake_.close();
  entrance_->close();
  if (backup_) backup_->close();
  for (const auto& session : primaries_) session->close();
  for (const auto& session : sessions_) {
    if (session) session->close();
  }
}

net::Task<void> Lane::watch_scalars() {
  std::optional<Step> waiting;
  while (!closing_) {
    net::ErrorCode cancelled;
    watch_.expires_after(options_.scalar_limit);
    co_await watch_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
    if (closing_) break;
    const auto now = shard_->scalar_wait();
    if (now && waiting == now->step) {
      fail(Fault::network,
           "step {} has waited {:.1f} s for the step scalars of server {} (chunk {})", now->step,
           seconds(options_.scalar_limit), now->server, now->chunk);
    }
    waiting = now ? std::optional(now->step) : std::nullopt;
  }
}

Lane::Payload Lane::payload_for(SessionId session) const {
  if (session < kShared) return Payload::encoded;
  return incoming_bytes_ == 0 ? Payload::none : Payload::floats;
}

void Lane::reply(SessionId session, wire::OutFrame frame) {
  if (session >= kShared) {
    if (const auto& shared = shared_[session - kShared]) shared->send(frame);
    return;
  }
  if (session < sessions_.size() && sessions_[session]) sessions_[session]->send(std::move(frame));
}

void Lane::share_scalar(Step step, std::uint32_t chunk, double value) {
  options_.share_scalar(step, chunk, value);
}

void Lane::skipped(Step step) {
  if (options_.skipped) options_.skipped(step);
}

// A step is released whole before any push of the next one comes.
void Lane::released(Step step, const wire::Digest& digest) {
  if (step != releasing_) {
    releasing_ = step;
    released_chunks_ = 0;
    release_digest_ = {};
  }
  for (std::size_t i = 0; i < digest.size(); ++i) release_digest_[i] ^= digest[i];
  if (++released_chunks_ == chunks_ && options_.released) {
    options_.released(step, chunks_, release_digest_);
  }
}

// What others ask of the shard. It ends with the lane.
void Lane::in_thread(std::function<void()> body) {
  net::asio::post(context_, [this, body = std::move(body)] {
    if (closing_) return;
    try {
      body();
    } catch (...) {
      shutdown_.fail(std::current_exception());
    }
  });
}

void Lane::share_scalars() {
  in_thread([this] { shard_->share_scalars(); });
}

void Lane::add_scalar(Step step, std::uint32_t chunk, double value) {
  in_thread([this, step, chunk, value] { shard_->on_scalar(step, chunk, value); });
}

void Lane::checkpoint_at(Version version, bool end, std::function<void(bool)> answer) {
  in_thread([this, version, end, answer = std::move(answer)] {
    answer(shard_->checkpoint_at(version, end));
  });
}

void Lane::trace_to(const std::filesystem::path& file, const TraceHead& head) {
  trace_.open(file);
  if (!(trace_ << to_line(head))) {
    fail(Fault::data, "{}: cannot be written: {}", file.string(), std::strerror(errno));
  }
  shard_->note_begun();
}

void Lane::end_trace(std::size_t traces) {
  if (trace_.is_open()) trace_ << to_line(TraceEnd{shard_->step(), traces}) << std::flush;
}

void Lane::note(const TraceEvent& event) {
  if (!trace_.is_open() || trace_ << to_line(event)) return;
  options_.warn(fmt::format("lane {}: the trace cannot be written any more: {}", options_.id,
                            std::strerror(errno)));
  trace_.close();
}

void Lane::restore(Version version, Shard::ReadChunk read) {
  restoring_ = true;
  begin_restoring_ = [this, version, read = std::move(read)] { restore_from(0, version, read); };
  if (!backup_ || !backup_->adopts()) begin_restoring_();
}

void Lane::restore_from(std::size_t n, Version version, Shard::ReadChunk read) {
  in_thread([this, n, version, read = std::move(read)]() mutable {
    restoring_ = shard_->restore(version, n, read);
    if (restoring_) return restore_from(n + 1, version, std::move(read));
    if (opens_late_) entrance_->open();
  });
}

void Lane::clock(PartitionRange partitions, std::function<void(Step)> answer) {
  in_thread([this, partitions, answer = std::move(answer)]() mutable {
    if (restoring_) return clock(partitions, std::move(answer));  // behind the next chunk
    if (!shard_->knows_clocks()) {
      return questions_.push_back([this, partitions, answer] { clock(partitions, answer); });
    }
    Step clock = std::numeric_limits<Step>::max();
    for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
      clock = std::min(clock, shard_->clock(p));
    }
    answer(clock);
  });
}

void Lane::fence(std::uint32_t worker, std::uint32_t incarnation) {
  in_thread([this, worker, incarnation] {
    door_.expect(worker, incarnation);
    for (const auto& session : sessions_) {
      if (!session || session->peer() != ProcessId{Role::worker, worker}) continue;
      if (session->incarnation() < incarnation) end(*session);
    }
  });
}

void Lane::on_room() {
  in_thread([this] { shard_->on_room(); });
}

std::span<float> Lane::checkpoint_room(std::size_t floats) {
  const std::span<float> room = checkpointer_->room(floats);
  copy_began_ = std::chrono::steady_clock::now();
  return room;
}

void Lane::checkpoint(Version version, std::uint32_t chunk, std::span<float> room) {
  constexpr std::size_t kMostPauses = 4096;
  copying_ += std::chrono::steady_clock::now() - copy_began_;
  if (paused_for_ != version) {
    paused_for_ = version;
    if (pauses_.size() == kMostPauses) pauses_.erase(pauses_.begin());
    pauses_.emplace_back(0);
  }
  pauses_.back() = std::max(pauses_.back(), copying_);
  checkpointer_->ready(version, chunk, room);
}

wire::Waiting Lane::waiting_for(Duration limit) {
  auto answer = std::make_shared<std::promise<wire::Waiting>>();
  auto future = answer->get_future();
  net::asio::post(context_, [this, answer] { answer->set_value(shard_->waiting_for()); });
  if (future.wait_for(limit) != std::future_status::ready) return {};
  return future.get();
}

}  // namespace sheaf::server
