// A worker that asks and never reads, over a socket of the kernel whose buffers fill: the lane
// leaves its requests where they are, and goes on when it reads again.
#include "server/session.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "server/lane.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

constexpr int kRequests = 20'000;  // many times what a socket and the lane hold
constexpr int kQuiet = 500;        // milliseconds without progress: it takes no more
constexpr int kLimit = 10'000;     // milliseconds
constexpr std::size_t kFloats = 1024;

wire::HeaderBytes request(wire::FrameType type, std::size_t floats) {
  static const std::vector<float> values(kFloats, 1.0F);
  wire::Header header = ShardJob::header(type, 0, 0, {0, 1});
  const auto payload = std::as_bytes(std::span(values).first(floats));
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  header.payload_crc = wire::crc32c(payload);
  return wire::encode(header);
}

TEST(SessionTest, AWorkerThatDoesNotReadIsNotListenedTo) {
  params::Layout layout;
  layout.add("weight", {kFloats}, {1, 1});
  const params::ChunkMap chunks(layout, kFloats * sizeof(float));
  const params::ShardMap shards(chunks, 1, 1);
  const auto gate = bsp_gate();
  const auto none = no_compressor();
  const Descent optimizer;
  const optimization::Schedule schedule(1.0, 0);
  cluster::Shutdown shutdown;
  Lane lane({}, shutdown);
  lane.open({.layout = layout,
             .chunks = chunks,
             .shards = shards,
             .lane = {0, 0},
             .partitions = 1,
             .connections = 1,
             .gate = *gate,
             .optimizer = optimizer,
             .schedule = schedule,
             .push = *none,
             .pull = *none});
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
  lane.adopt(net::Connection(net::Socket(lane.context(), {AF_UNIX, 0}, ends[1]), "worker 0"),
             {Role::worker, 0});
  std::jthread serving([&] { lane.run(); });
  const struct AtEnd {
    cluster::Shutdown& shutdown;
    ~AtEnd() { shutdown.finish(); }
  } at_end{shutdown};

  // The first values, then pulls of them.
  std::string outgoing;
  const auto append = [&](const auto& bytes) {
    outgoing.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  append(request(wire::FrameType::init, kFloats));
  const std::vector<float> values(kFloats, 1.0F);
  append(std::as_bytes(std::span(values)));
  for (int i = 0; i < kRequests; ++i) append(request(wire::FrameType::pull, 0));

  std::size_t sent = 0;
  const auto send = [&] {
    const ssize_t n = ::send(ends[0], outgoing.data() + sent, outgoing.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
  };
  pollfd event{ends[0], POLLOUT, 0};
  while (sent < outgoing.size() && ::poll(&event, 1, kQuiet) > 0) send();
  EXPECT_LT(sent, outgoing.size() / 2) << "the lane takes requests without end";

  // Every request is answered, once it reads.
  const std::size_t expected =
      wire::kHeaderBytes + kRequests * (wire::kHeaderBytes + kFloats * sizeof(float));
  std::size_t received = 0;
  std::vector<char> answers(1 << 20);
  while (received < expected) {
    event.events = static_cast<short>(POLLIN | (sent < outgoing.size() ? POLLOUT : 0));
    ASSERT_GT(::poll(&event, 1, kLimit), 0) << received << " of " << expected << " bytes";
    send();
    const ssize_t n = ::recv(ends[0], answers.data(), answers.size(), 0);
    if (n > 0) received += static_cast<std::size_t>(n);
    ASSERT_TRUE(n != 0) << "closed";
  }
  EXPECT_EQ(received, expected);
  shutdown.finish();
  serving.join();
  EXPECT_LE(lane.shard().memory_used(), lane.shard().memory_bound());
  ::close(ends[0]);
}

}  // namespace
}  // namespace sheaf::server
