// A connection between two simulated servers, as FrameChannel gives it to its handlers: frames
// arrive whole and in order, a few are written at a time, and when an end is closed or its process
// gone, the other one sees it later; what was under way then may be lost.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <span>

#include "common/wire/out_frame.h"
#include "tests/simulation/cluster.h"

namespace sheaf::simulation {

// Who decides at one end what is sent and what a frame means. Lives as long as its process.
class Talker {
 public:
  virtual ~Talker() = default;
  virtual std::span<std::byte> receive_into(const wire::Header& header) = 0;
  virtual void on_frame(const wire::Header& header) = 0;
  virtual std::optional<wire::OutFrame> next_frame() = 0;
  virtual void on_written() {}
  // The other end has closed.
  virtual void on_closed() = 0;
};

class Channel {
 public:
  // It asked for the connection, and is open when on_connected() says so.
  enum End : std::size_t { kCaller = 0, kCalled = 1 };
  Channel(Cluster& cluster, Process& caller, Talker& calling, Process& called, Talker& answering);

  // There may be something to send from there.
  void wake(End end);
  // By that end, or because its process is gone.
  void close(End end);
  void on_killed(const Process& process);

 private:
  struct Side {
    Process& process;
    Talker& talker;
    bool closed = false;
    bool woken = false;
    bool writing = false;
    std::deque<Bytes> coming = {};
  };
  void write(End end);
  void deliver(End to);

  Cluster& cluster_;
  std::array<Side, 2> sides_;
};

}  // namespace sheaf::simulation
