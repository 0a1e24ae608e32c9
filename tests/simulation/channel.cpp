#include "tests/simulation/channel.h"

#include <utility>

namespace sheaf::simulation {

Channel::Channel(Cluster& cluster, Process& caller, Talker& calling, Process& called,
                 Talker& answering)
    : cluster_(cluster), sides_{Side{caller, calling}, Side{called, answering}} {}

// Not at once: who wakes it is in the middle of something.
void Channel::wake(End end) {
  Side& side = sides_[end];
  if (side.closed || std::exchange(side.woken, true)) return;
  cluster_.later(0, side.process, [this, end] {
    sides_[end].woken = false;
    write(end);
  });
}

void Channel::write(End end) {
  Side& side = sides_[end];
  const End to = end == kCaller ? kCalled : kCaller;
  if (side.closed || side.writing) return;
  std::size_t count = 0;
  for (const std::size_t most = 1 + cluster_.chance(16); count < most; ++count) {
    auto frame = side.talker.next_frame();
    if (!frame) break;
    side.process.breathe();
    cluster_.note(cluster_.now() * 43 + frame->header.chunk);
    sides_[to].coming.push_back(to_bytes(*frame));
    cluster_.later(cluster_.random_delay(), sides_[to].process, [this, to] { deliver(to); });
  }
  if (count == 0) return;
  side.writing = true;
  cluster_.later(cluster_.random_delay(), side.process, [this, end] {
    Side& writer = sides_[end];
    writer.writing = false;
    if (writer.closed) return;
    writer.talker.on_written();
    write(end);
  });
}

// The next one, whichever was the first to be delayed for so long.
void Channel::deliver(End to) {
  Side& side = sides_[to];
  const Bytes bytes = std::move(side.coming.front());
  side.coming.pop_front();
  if (side.closed) return;
  wire::Header header;
  const auto payload = open_frame(bytes, header);
  std::ranges::copy(payload, side.talker.receive_into(header).begin());
  side.talker.on_frame(header);
  side.process.breathe();
  wake(to);
}

void Channel::close(End end) {
  if (std::exchange(sides_[end].closed, true)) return;
  const End to = end == kCaller ? kCalled : kCaller;
  cluster_.later(cluster_.random_delay(), sides_[to].process, [this, to] {
    if (!std::exchange(sides_[to].closed, true)) sides_[to].talker.on_closed();
  });
}

void Channel::on_killed(const Process& process) {
  for (const End end : {kCaller, kCalled}) {
    if (&sides_[end].process == &process) close(end);
  }
}

}  // namespace sheaf::simulation
