#include "launcher/bench/exchange_floors.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"
#include "common/math/kernels.h"
#include "common/net/doorbell.h"
#include "common/net/shared_memory.h"
#include "launcher/bench/exchange_job.h"
#include "launcher/system/median.h"

namespace sheaf::launcher {
namespace {

using Clock = std::chrono::steady_clock;
using net::Descriptor;

constexpr int kFloorRoundTrips = 2000;

double seconds_of(const std::function<void()>& body) {
  const auto begin = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Written by another core, as a gradient is for the server.
void rewrite(std::span<float> values) {
  std::jthread([&] {
    static float value = 0;
    value += 1;
    std::ranges::fill(values, value);
  });
}

std::pair<Descriptor, Descriptor> tcp_pair() {
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), any, &size) != 0) {
    fail(Fault::network, "a socket for the floors: {}", std::strerror(errno));
  }
  Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(client.get(), any, size) != 0) {
    fail(Fault::network, "a socket for the floors: {}", std::strerror(errno));
  }
  Descriptor server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int one = 1;
  for (const int fd : {client.get(), server.get()}) {
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  return {std::move(client), std::move(server)};
}

void send_all(const Descriptor& socket, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::send(socket.get(), at, bytes, MSG_NOSIGNAL);
    if (n < 0) fail(Fault::network, "sending for the floors: {}", std::strerror(errno));
    at += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void receive_all(const Descriptor& socket, void* data, std::size_t bytes) {
  const ssize_t n = ::recv(socket.get(), data, bytes, MSG_WAITALL);
  if (n != static_cast<ssize_t>(bytes)) {
    fail(Fault::network, "receiving for the floors: {}", std::strerror(errno));
  }
}

// Calls body(offset, count) for each chunk.
template <typename Body>
void by_chunk(std::size_t floats, std::size_t chunk, Body body) {
  for (std::size_t at = 0; at < floats; at += chunk) body(at, std::min(chunk, floats - at));
}

struct Vectors {
  Vectors(std::size_t n, std::size_t c) : floats(n), chunk(c), x(n), y(n), z(n), room(2 * c) {}
  std::size_t floats, chunk;
  AlignedBuffer<float> x, y, z;
  AlignedBuffer<float> room;  // of two chunks
  double gigabytes() const { return 1e-9 * static_cast<double>(floats * sizeof(float)); }
};

// One way over a socket; the receiver takes each chunk to `place`, does `use` with it, and answers
// at the end.
double one_way(Vectors& v, const std::function<std::span<float>(std::size_t, std::size_t)>& place,
               const std::function<void(std::size_t, std::span<float>)>& use) {
  const auto [client, server] = tcp_pair();
  rewrite(v.x.span());
  const std::jthread receiver([&, s = &server] {
    by_chunk(v.floats, v.chunk, [&](std::size_t at, std::size_t n) {
      const std::span<float> into = place(at, n);
      receive_all(*s, into.data(), into.size_bytes());
      use(at, into);
    });
    send_all(*s, "", 1);
  });
  return seconds_of([&, c = &client] {
    send_all(*c, v.x.data(), v.floats * sizeof(float));
    char done = 0;
    receive_all(*c, &done, 1);
  });
}

// Two clients, one server thread; each client sends and receives at once, as ours do.
double two_senders(Vectors& v) {
  std::array<std::pair<Descriptor, Descriptor>, 2> links = {tcp_pair(), tcp_pair()};
  std::array<AlignedBuffer<float>, 2> into = {AlignedBuffer<float>(v.floats),
                                              AlignedBuffer<float>(v.floats)};
  rewrite(v.x.span());
  return seconds_of([&] {
    std::vector<std::jthread> threads;
    threads.emplace_back([&] {
      by_chunk(v.floats, v.chunk, [&](std::size_t at, std::size_t n) {
        const auto a = v.room.first(n);
        const auto b = v.room.span().subspan(v.chunk, n);
        receive_all(links[0].second, a.data(), n * sizeof(float));
        receive_all(links[1].second, b.data(), n * sizeof(float));
        math::add(a, b);
        math::add(b, v.y.span().subspan(at, n));
        for (auto& link : links) send_all(link.second, v.y.data() + at, n * sizeof(float));
      });
    });
    for (std::size_t i : {0U, 1U}) {
      threads.emplace_back(
          [&, i] { send_all(links[i].first, v.x.data(), v.floats * sizeof(float)); });
      threads.emplace_back([&, i] {
        by_chunk(v.floats, v.chunk, [&](std::size_t at, std::size_t n) {
          receive_all(links[i].first, into[i].data() + at, n * sizeof(float));
          read_all(into[i].data() + at, n);
        });
      });
    }
  });
}

double socket_round_trip() {
  constexpr std::size_t kBytes = 68;  // a header and a float
  const auto [client, server] = tcp_pair();
  std::array<char, kBytes> out{}, in{};
  const std::jthread echo([&, s = &server] {
    std::array<char, kBytes> bytes{};
    for (int i = 0; i < kFloorRoundTrips; ++i) {
      receive_all(*s, bytes.data(), kBytes);
      send_all(*s, bytes.data(), kBytes);
    }
  });
  std::vector<double> times;
  for (int i = 0; i < kFloorRoundTrips; ++i) {
    times.push_back(seconds_of([&, c = &client] {
      send_all(*c, out.data(), kBytes);
      receive_all(*c, in.data(), kBytes);
    }));
  }
  return median(times);
}

double memory_round_trip(bool asleep) {
  struct alignas(64) Side {
    std::atomic<int> round{0};
    net::Doorbell bell;
  };
  Side to, fro;
  const auto wait = [&](Side& side, int round) {
    while (side.round.load(std::memory_order_acquire) != round) {
      const std::uint32_t seen = side.bell.count();
      if (side.round.load(std::memory_order_acquire) == round) break;
      if (asleep) {
        side.bell.wait(seen, Clock::now() + std::chrono::seconds(1));
      } else {
        net::spin_pause();
      }
    }
  };
  const auto say = [&](Side& side, int round) {
    side.round.store(round, std::memory_order_release);
    if (asleep) side.bell.ring();
  };
  const std::jthread echo([&] {
    for (int i = 1; i <= kFloorRoundTrips; ++i) {
      wait(to, i);
      say(fro, i);
    }
  });
  std::vector<double> times;
  for (int i = 1; i <= kFloorRoundTrips; ++i) {
    times.push_back(seconds_of([&] {
      say(to, i);
      wait(fro, i);
    }));
  }
  return median(times);
}

}  // namespace

void ExchangeFloors::measure(std::size_t floats, std::size_t chunk_floats, int repeat) {
  Vectors v(floats, std::min(floats, chunk_floats));
  const auto sample = [&](Samples& rates, double gigabytes, const std::function<double()>& once) {
    once();
    for (int i = 0; i < repeat; ++i) rates.push_back(gigabytes / once());
  };
  sample(socket_push_GBps, v.gigabytes(), [&] {
    return one_way(
        v, [&](std::size_t, std::size_t n) { return v.room.first(n); },
        [&](std::size_t at, std::span<float> x) {
          math::add(x, v.y.span().subspan(at, x.size()));
        });
  });
  sample(socket_pull_GBps, v.gigabytes(), [&] {
    return one_way(
        v, [&](std::size_t at, std::size_t n) { return v.z.span().subspan(at, n); },
        [&](std::size_t, std::span<float> x) { read_all(x.data(), x.size()); });
  });
  sample(two_sender_GBps, 4 * v.gigabytes(), [&] { return two_senders(v); });
  for (int i = 0; i < repeat; ++i) {
    pingpong_us.push_back(1e6 * socket_round_trip());
    futex_pingpong_us.push_back(1e6 * memory_round_trip(true));
    spin_pingpong_us.push_back(1e6 * memory_round_trip(false));
  }
  sample(memory_add_GBps, v.gigabytes(), [&] {
    rewrite(v.x.span());
    return seconds_of([&] { math::add(v.x.span(), v.y.span()); });
  });
  sample(memory_read_GBps, v.gigabytes(), [&] {
    rewrite(v.x.span());
    return seconds_of([&] { read_all(v.x.data(), v.floats); });
  });
  sample(memcpy_GBps, v.gigabytes(), [&] {
    rewrite(v.x.span());
    return seconds_of([&] { std::ranges::copy(v.x.span(), v.z.data()); });
  });
}

std::optional<double> fastest_allreduce_ms(const std::string& program, std::size_t floats,
                                           int repeat) {
  constexpr int kAlgorithms = 6;  // of Open MPI's coll/tuned; 0 leaves the choice to it
  std::optional<double> fastest;
  for (int algorithm = 0; algorithm <= kAlgorithms; ++algorithm) {
    std::string command = "mpirun -n 2 --oversubscribe --bind-to none";
    if (::geteuid() == 0) command += " --allow-run-as-root";
    if (algorithm != 0) {
      command += fmt::format(
          " --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm {}",
          algorithm);
    }
    command += fmt::format(" '{}' bench allreduce {} {} 2>/dev/null", program, floats, repeat);
    FILE* output = ::popen(command.c_str(), "r");
    if (output == nullptr) return std::nullopt;
    double milliseconds = 0;
    const bool read = std::fscanf(output, "%lf", &milliseconds) == 1;
    ::pclose(output);
    if (!read || milliseconds <= 0) continue;
    fastest = std::min(fastest.value_or(milliseconds), milliseconds);
  }
  return fastest;
}

}  // namespace sheaf::launcher
