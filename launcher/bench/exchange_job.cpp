#include "launcher/bench/exchange_job.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/keeper.h"
#include "common/config/section.h"
#include "common/math/kernels.h"
#include "launcher/system/host.h"
#include "server/server.h"
#include "worker/worker.h"

namespace sheaf::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostProcesses = 64;
constexpr std::size_t kMostRounds = 4096;
constexpr Duration kLimit = std::chrono::seconds(60);
constexpr int kWarmUp = 2;

double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

struct Times {
  double begin, settled, asked, end;
};

// What the processes of one exchange share besides the exchange.
struct Board {
  pthread_barrier_t everyone;
  pthread_barrier_t workers;
  std::array<std::uint16_t, kMostProcesses * kMostProcesses> ports;
  std::array<double, kMostProcesses> server_cpu;
  std::array<double, 2 * kMostProcesses> pss;
  std::array<double, kMostProcesses> promised, held;
  std::array<bool, kMostProcesses> verified, shared;
  std::array<char, 512> failure;
  Times times[kMostProcesses][kMostRounds];
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double proportional_bytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Pss:")) return 1024.0 * std::strtod(line.c_str() + 4, nullptr);
  }
  return 0;
}

// What one worker pushes in a round, and its sum over all: small whole numbers, so that sums are
// exact.
float gradient_at(std::size_t i, Step step, std::uint32_t worker) {
  return static_cast<float>((i & 1023) + 1 + step % 8 + worker);
}

class Process {
 public:
  Process(const ExchangePlan& plan, const wire::JobKey& key, Board& board)
      : plan_(plan), key_(key), board_(board) {
    layout_.add("exchange", {static_cast<std::uint32_t>(plan.floats)}, {});
  }

  void serve(std::uint32_t id) {
    const auto document = config::Document::from_text("[optimizer]\n", "bench exchange");
    const config::Section root = document->root();
    server::ServerOptions o;
    o.id = id;
    o.servers = plan_.servers;
    o.workers = plan_.workers;
    o.partitions = plan_.workers;
    o.lanes = plan_.lanes;
    o.chunk_bytes = plan_.chunk_bytes;
    o.gate = find_mode(server::gates(), "bsp")->make(root.table("consistency"));
    o.optimizer = find_mode(optimization::optimizers(), "sgd")->make(root.table("optimizer"));
    o.schedule = std::make_unique<optimization::Schedule>(1.0, 0);
    o.push.usual = identity();
    o.pull.usual = identity();
    o.credentials = credentials({Role::server, id});
    o.warn = [](const std::string& text) { fail(Fault::internal, "{}", text); };
    cluster::Shutdown shutdown;
    std::unique_ptr<cluster::Keeper> keeper;
    std::unique_ptr<cluster::KeeperClient> client;
    if (plan_.shared_memory) keeper = cluster::Keeper::start(o.credentials, kLimit);
    const net::Credentials self = o.credentials;
    server::Server server(std::move(o), shutdown);
    const auto endpoints = server.bind("127.0.0.1", {});
    for (std::size_t lane = 0; lane < endpoints.size(); ++lane) {
      board_.ports[id * kMostProcesses + lane] = endpoints[lane].port;
    }
    meet();  // all are bound
    if (plan_.shared_memory) client = std::make_unique<cluster::KeeperClient>(self, kLimit);
    server.open(layout_, roster(), client.get(), spin());
    board_.promised[id] = static_cast<double>(server.memory_bound());
    meet();  // all are open
    const std::jthread watch([&] {
      meet();  // the rounds begin
      const double before = cpu_seconds();
      meet();  // and have ended
      board_.server_cpu[id] = cpu_seconds() - before;
      board_.pss[id] = proportional_bytes();
      meet();
      shutdown.finish();
    });
    board_.held[id] = static_cast<double>(server.run().memory_bytes);
  }

  void work(std::uint32_t id) {
    meet();
    meet();
    const params::ChunkMap chunks(layout_, plan_.chunk_bytes);
    const params::ShardMap shards(chunks, plan_.servers, plan_.lanes);
    const auto pull = identity();
    worker::PushPull::Options o;
    o.partitions = plan_.workers;
    o.hosted = {id, 1};
    o.credentials = credentials({Role::worker, id});
    o.warn = [](const std::string& text) { fail(Fault::internal, "{}", text); };
    std::unique_ptr<cluster::KeeperClient> client;
    if (plan_.shared_memory) {
      client = std::make_unique<cluster::KeeperClient>(o.credentials, kLimit);
      o.keeper = client.get();
      o.host_id = host_identity();
      o.spin = spin();
    }
    cluster::Shutdown shutdown;
    worker::PushPull exchange(std::move(o), chunks, shards, *pull, shutdown);
    exchange.connect(roster());
    exchange.start();
    board_.shared[id] = exchange.shared_lanes() == shards.lane_count();
    if (id == 0) {
      const AlignedBuffer<float> zero(plan_.floats);
      exchange.init(zero.span());
      exchange.wait_settled();
    }
    for (std::uint32_t c = 0; c < chunks.size(); ++c) exchange.pull(0, c);
    exchange.wait_arrived(0, plan_.floats, 0);

    Rounds rounds{*this, exchange, chunks, id};
    for (int i = 0; i < kWarmUp; ++i) rounds.apart();
    for (int i = 0; i < kWarmUp; ++i) rounds.together();
    meet();
    rounds.next = 0;
    for (int i = 0; i < plan_.apart; ++i) rounds.apart();
    for (int i = 0; i < plan_.together; ++i) rounds.together();
    for (int i = 0; i < plan_.updates; ++i) rounds.update();
    for (int i = 0; i < plan_.round_trips; ++i) rounds.round_trip();
    meet();
    board_.verified[id] = rounds.verified();
    board_.pss[kMostProcesses + id] = proportional_bytes();
    meet();
    exchange.stop();
  }

 private:
  struct Rounds {
    Process& process;
    worker::PushPull& exchange;
    const params::ChunkMap& chunks;
    std::uint32_t id;
    std::size_t next = 0;
    Step step = 0;
    Version pulled = 0;

    std::span<float> gradient() const {
      const auto bytes = exchange.workspace(0);
      return {reinterpret_cast<float*>(bytes.data()), process.plan_.floats};
    }
    Times& begin() {
      const auto values = gradient();
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = gradient_at(i, step, id);
      ::pthread_barrier_wait(&process.board_.workers);
      Times& times = process.board_.times[id][next++];
      times.begin = now();
      return times;
    }
    void push(std::uint32_t c) {
      const auto values = gradient().subspan(chunks[c].offset, chunks[c].size);
      exchange.push(step, c, {id, 1}, 1, std::as_bytes(values));
    }
    // Reads the chunks in the order in which they come.
    void read(Version version) {
      for (auto c = chunks.size(); c-- > 0;) {
        exchange.wait_arrived(chunks[c].offset, chunks[c].end(), version);
        const auto values = exchange.parameters(version).subspan(chunks[c].offset, chunks[c].size);
        check(read_all(values.data(), values.size()), "parameters are finite");
      }
      pulled = version;
    }
    void apart() {
      Times& times = begin();
      for (auto c = chunks.size(); c-- > 0;) push(static_cast<std::uint32_t>(c));
      exchange.wait_settled();
      times.settled = now();
      ++step;
      times.asked = times.settled;
      for (auto c = chunks.size(); c-- > 0;) exchange.pull(step, static_cast<std::uint32_t>(c));
      read(step);
      times.end = now();
    }
    Times& push_and_pull() {
      Times& times = begin();
      for (auto c = chunks.size(); c-- > 0;) {
        push(static_cast<std::uint32_t>(c));
        exchange.pull(step + 1, static_cast<std::uint32_t>(c));
      }
      ++step;
      return times;
    }
    void together() {
      Times& times = push_and_pull();
      read(step);
      times.end = now();
      exchange.wait_settled();
    }
    void update() {
      Times& times = push_and_pull();
      exchange.wait_arrived(0, process.plan_.floats, step);
      times.end = now();
      pulled = step;
      exchange.wait_settled();
    }
    void round_trip() {
      Times& times = begin();
      push(0);
      exchange.wait_settled();
      times.settled = now();
      ++step;
    }
    // out = in - (scale sum + 0 in), as the optimizer's formula has it, from 0, round by round.
    bool verified() {
      for (std::uint32_t c = 0; c < chunks.size() && pulled != step; ++c) exchange.pull(step, c);
      exchange.wait_arrived(0, process.plan_.floats, step);
      const std::uint32_t workers = process.plan_.workers;
      const auto scale = static_cast<float>(1.0 / workers);
      std::array<float, 1024> expected{};
      for (Step s = 0; s < step; ++s) {
        for (std::size_t i = 0; i < expected.size(); ++i) {
          float sum = 0;
          for (std::uint32_t w = 0; w < workers; ++w) sum += gradient_at(i, s, w);
          expected[i] -= scale * sum;
        }
      }
      const auto values = exchange.parameters(step);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] != expected[i & 1023]) return false;
      }
      return true;
    }
  };

  static std::unique_ptr<compression::Compressor> identity() {
    const auto document = config::Document::from_text("", "bench exchange");
    return find_mode(compression::compressors(), "none")->make(document->root());
  }
  net::Credentials credentials(ProcessId process) const {
    wire::Identity identity;
    identity.process = process;
    const auto encryption = plan_.encrypted ? net::Encryption::always : net::Encryption::never;
    return {key_, identity, encryption};
  }
  std::vector<wire::ProcessInfo> roster() const {
    std::vector<wire::ProcessInfo> servers;
    for (std::uint32_t id = 0; id < plan_.servers; ++id) {
      wire::ProcessInfo info;
      info.process = {Role::server, id};
      info.address = "127.0.0.1";
      if (plan_.shared_memory) info.host_id = host_identity();
      for (std::uint32_t lane = 0; lane < plan_.lanes; ++lane) {
        info.ports.push_back(board_.ports[id * kMostProcesses + lane]);
      }
      servers.push_back(info);
    }
    return servers;
  }

 public:
  Duration spin() const {
    if (!plan_.may_spin) return {};
    std::vector<wire::ProcessInfo> ranks;
    for (std::uint32_t i = 0; i < plan_.servers + plan_.workers; ++i) {
      wire::ProcessInfo info;
      info.process.role = i < plan_.servers ? Role::server : Role::worker;
      info.host_id = host_identity();
      ranks.push_back(info);
    }
    return spin_on_host(ranks, 1, plan_.lanes);
  }

 private:
  void meet() { ::pthread_barrier_wait(&board_.everyone); }

  const ExchangePlan& plan_;
  wire::JobKey key_;
  Board& board_;
  params::Layout layout_;
};

void make_barrier(pthread_barrier_t& barrier, unsigned count) {
  pthread_barrierattr_t attributes;
  ::pthread_barrierattr_init(&attributes);
  ::pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_barrier_init(&barrier, &attributes, count);
  ::pthread_barrierattr_destroy(&attributes);
}

// Runs `body` in a new process; it ends there.
template <typename Body>
pid_t in_process(Board& board, Body body) {
  const pid_t pid = ::fork();
  if (pid < 0) fail(Fault::internal, "fork: {}", std::strerror(errno));
  if (pid != 0) return pid;
  try {
    body();
    ::_exit(0);
  } catch (...) {
    const std::string text = describe(std::current_exception()).second;
    board.failure[text.copy(board.failure.data(), board.failure.size() - 1)] = 0;
    ::_exit(1);
  }
}

// All have ended when it returns; the first failure ends the others.
void wait_for(std::vector<pid_t> processes, const Board& board) {
  bool failed = false;
  while (!processes.empty()) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (std::erase(processes, ended) == 0 || status == 0 || failed) continue;
    failed = true;
    for (const pid_t other : processes) ::kill(other, SIGKILL);
  }
  if (failed) fail(Fault::internal, "a process of the exchange failed: {}", board.failure.data());
}

ExchangeFigures collect(const ExchangePlan& plan, const Board& board) {
  ExchangeFigures f;
  const int rounds = plan.apart + plan.together + plan.updates + plan.round_trips;
  for (int r = 0; r < rounds; ++r) {
    double push = 0, pull = 0, both = 0, first = 1e300, end = 0;
    for (std::uint32_t w = 0; w < plan.workers; ++w) {
      const Times& t = board.times[w][r];
      push = std::max(push, t.settled - t.begin);
      pull = std::max(pull, t.end - t.asked);
      both = std::max(both, t.end - t.begin);
      first = std::min(first, t.begin);
      end = std::max(end, t.end);
    }
    if (r < plan.apart) {
      f.push.push_back(push);
      f.pull.push_back(pull);
    } else if (r < plan.apart + plan.together) {
      f.both.push_back(both);
    } else if (r < plan.apart + plan.together + plan.updates) {
      f.update.push_back(end - first);
    } else {
      f.round_trip.push_back(board.times[0][r].settled - board.times[0][r].begin);
    }
  }
  const double vector = static_cast<double>(plan.floats * sizeof(float));
  f.bytes = vector * plan.workers *
            (2.0 * (plan.apart + plan.together + plan.updates) + plan.round_trips);
  for (std::uint32_t s = 0; s < plan.servers; ++s) {
    f.server_cpu_s += board.server_cpu[s];
    f.memory_beyond_bytes += board.pss[s];
    f.memory_beyond_bytes -= board.held[s];
    f.memory_promised_bytes += board.promised[s];
  }
  f.verified = f.shared = true;
  for (std::uint32_t w = 0; w < plan.workers; ++w) {
    f.memory_beyond_bytes += board.pss[kMostProcesses + w];
    f.verified &= board.verified[w];
    f.shared &= board.shared[w];
  }
  // A gradient in each worker; two versions of the parameters, in each or once for all.
  f.memory_beyond_bytes -= vector * (plan.workers + (f.shared ? 2.0 : 2.0 * plan.workers));
  return f;
}

}  // namespace

bool read_all(const float* values, std::size_t count) { return math::all_finite({values, count}); }

ExchangeFigures run_exchange(const ExchangePlan& plan) {
  check(plan.workers <= kMostProcesses && plan.servers <= kMostProcesses &&
            plan.lanes <= kMostProcesses,
        "an exchange of at most 64 workers, servers and lanes");
  const int rounds = plan.apart + plan.together + plan.updates + plan.round_trips;
  check(static_cast<std::size_t>(rounds) <= kMostRounds, "an exchange of at most 4096 rounds");
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(Fault::internal, "mmap: {}", std::strerror(errno));
  const auto unmap = [](Board* board) { ::munmap(board, sizeof(Board)); };
  const std::unique_ptr<Board, decltype(unmap)> board(static_cast<Board*>(memory), unmap);
  make_barrier(board->everyone, plan.servers + plan.workers);
  make_barrier(board->workers, plan.workers);
  const wire::JobKey key;
  Process process(plan, key, *board);
  std::vector<pid_t> processes;
  for (std::uint32_t id = 0; id < plan.servers; ++id) {
    processes.push_back(in_process(*board, [&] { process.serve(id); }));
  }
  for (std::uint32_t id = 0; id < plan.workers; ++id) {
    processes.push_back(in_process(*board, [&] { process.work(id); }));
  }
  wait_for(std::move(processes), *board);
  ExchangeFigures figures = collect(plan, *board);
  figures.spun = plan.shared_memory && process.spin() > Duration{};
  return figures;
}

}  // namespace sheaf::launcher
