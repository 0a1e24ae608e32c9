// What encryption costs: messages of a header and a chunk over loopback TCP, from one thread to
// another, in the clear (the floor) and within TLS. CPU is that of both sides together.
#include <benchmark/benchmark.h>

#include <array>
#include <exception>
#include <optional>
#include <thread>
#include <vector>

#include "common/net/handshake_io.h"
#include "common/net/listener.h"

namespace {

using namespace sheaf;
using net::Task;

constexpr Duration kLimit = std::chrono::seconds(10);
constexpr std::size_t kHeader = 64;

struct Side {
  net::asio::io_context context{1};
  std::optional<net::Connection> connection;

  void run(Task<void> task) {
    std::exception_ptr failure;
    net::asio::co_spawn(context, std::move(task), [&](std::exception_ptr e) { failure = e; });
    context.restart();
    context.run();
    if (failure) std::rethrow_exception(failure);
  }
};

Task<void> accept(net::Listener& listener, net::Credentials ours, Side& side) {
  side.connection.emplace(co_await listener.accept(kLimit));
  co_await net::receive_greeting(
      *side.connection, ours, [](const wire::Identity&) { return wire::Verdict::welcome; }, kLimit);
}

Task<void> connect(net::Endpoint endpoint, net::Credentials ours, Side& side) {
  side.connection.emplace(co_await net::connect(side.context, endpoint, "the reader", kLimit));
  co_await net::greet(*side.connection, ours, ours.self.process, kLimit);
}

Task<void> send(net::Connection& to, net::Gather message) { co_await to.write(message); }

Task<void> read_all(net::Connection& from, std::size_t chunk) {
  std::vector<std::byte> header(kHeader);
  std::vector<std::byte> payload(chunk);
  bool more = true;
  while (more) {
    more = co_await from.read(header);
    if (more) more = co_await from.read(payload);
  }
}

void exchange(benchmark::State& state, net::Encryption encryption) {
  const auto chunk = static_cast<std::size_t>(state.range(0)) << 10;
  const net::Credentials ours{wire::JobKey(), {}, encryption};
  Side reader;
  Side writer;
  net::Listener listener(reader.context, "127.0.0.1", {});
  {
    const std::jthread greeting([&] { reader.run(accept(listener, ours, reader)); });
    writer.run(connect(listener.endpoint(), ours, writer));
  }
  const std::jthread reading([&] { reader.run(read_all(*reader.connection, chunk)); });

  const std::vector<std::byte> bytes(kHeader + chunk, std::byte{7});
  const std::array<net::asio::const_buffer, 2> parts = {
      net::asio::buffer(bytes.data(), kHeader), net::asio::buffer(bytes.data() + kHeader, chunk)};
  const net::Gather message{parts.data(), parts.size()};
  for (auto _ : state) writer.run(send(*writer.connection, message));
  writer.connection->close();
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}

void clear(benchmark::State& state) { exchange(state, net::Encryption::never); }
void tls(benchmark::State& state) { exchange(state, net::Encryption::always); }

// KiB of a chunk: the smallest, the usual one of a large model, the largest.
BENCHMARK(clear)->Arg(4)->Arg(64)->Arg(256)->Arg(1024)->UseRealTime()->MeasureProcessCPUTime();
BENCHMARK(tls)->Arg(4)->Arg(64)->Arg(256)->Arg(1024)->UseRealTime()->MeasureProcessCPUTime();

}  // namespace
