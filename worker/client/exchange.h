// One worker's conversation with one lane of one server: what to send next, what an answer means.
// No sockets, no threads; time only as an argument. Everything stays queued until it is answered,
// so that it can be sent again after a loss; sending twice is harmless, the server counts it once.
//
// Entries go out in the order in which they were given. Pushes wait for credit: at most `window` of
// a set of partitions are unanswered. Payloads are borrowed until the event that settles them.
// Belongs to one thread, the lane's or, with shared memory, the compute thread; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/wire/out_frame.h"

namespace sheaf::worker {

// What the conversation brings about.
class ExchangeEvents {
 public:
  virtual ~ExchangeEvents() = default;
  // What a pull at `clock` asked for lies where it said, `bytes` long; it is that version.
  virtual void on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t bytes) = 0;
  // The same of a pull by who has the version before: only the difference to it has come.
  virtual void on_difference(std::uint32_t /*chunk*/, Step /*clock*/, Version /*version*/,
                             std::size_t /*bytes*/) {}
  // Before that: the chunk has a newer version already.
  virtual void on_superseded(std::uint32_t /*chunk*/) {}
  // A push, end or init is acknowledged; its payload may be overwritten.
  virtual void on_settled(const wire::Header& request) = 0;
  // Part of a push was there already and nothing was added: the caller pushes each of `missing`
  // by itself. The push itself is settled.
  virtual void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing) = 0;
};

class Exchange {
 public:
  struct Options {
    std::uint32_t partitions = 1;
    std::uint32_t window = 8;       // unanswered pushes per set of partitions
    std::size_t largest_reply = 0;  // bytes
    std::size_t entries = 64;       // expected at once; more is possible, but allocates
    Duration resend_after{0};       // unanswered entries are sent again; 0 = only on reconnect
  };

  Exchange(const Options& options, ExchangeEvents& events);

  void init(std::uint32_t chunk, std::span<const std::byte> values);
  // A payload that the server reads where it lies may be kept until the step is complete, or copied
  // at once because it is needed back.
  enum class Lend : std::uint8_t { until_applied = 0, needed_back = 1 };
  void push(Step step, std::uint32_t chunk, PartitionRange partitions, std::uint64_t examples,
            std::span<const std::byte> payload, Lend lend = Lend::until_applied);
  void end(Step step, PartitionRange partitions, std::uint64_t examples);
  // The reply, of at most that size, is received into `into`, which stays valid until on_arrived.
  // `next`: who asks has the version before that one and takes a difference to it; 0: it does not.
  void pull(Step clock, std::uint32_t chunk, PartitionRange partitions, std::span<std::byte> into,
            Version next = 0);

  // The next frame to send, if any; it counts as sent at `now`.
  std::optional<wire::OutFrame> next(TimePoint now);

  // Where the payload of an answer goes (header.payload_bytes long). Throws Fault::network if no
  // answer to anything can look like this. An outdated answer goes to scratch and is ignored.
  std::span<std::byte> receive_into(const wire::Header& header);
  // An answer whose payload lies where receive_into said.
  void on_frame(const wire::Header& header);

  // Marks what was sent too long ago as unsent.
  void on_tick(TimePoint now);
  // The connection is new: everything unanswered is sent again. Returns how much of it was sent
  // before.
  std::size_t on_reconnected();

  bool idle() const { return open_ == 0; }
  std::size_t open() const { return open_; }  // requests without an answer, sent or not
  // The oldest unanswered request, for stall messages.
  std::optional<wire::Header> oldest() const;

 private:
  struct Entry {
    wire::Header header;
    std::span<const std::byte> payload;
    std::span<std::byte> into;  // of a pull
    bool sent = false;
    bool done = false;
    TimePoint sent_at{};
  };
  void add(Entry entry);
  Entry* find(const wire::Header& answer);
  void settle(Entry& entry);
  void unsend(Entry& entry);

  Options options_;
  ExchangeEvents& events_;
  std::vector<Entry> entries_;             // in order; done ones are dropped from the front
  std::size_t head_ = 0;                   // everything before is done
  std::size_t cursor_ = 0;                 // everything before is sent or done
  std::size_t open_ = 0;                   // entries not done
  std::vector<std::uint32_t> unanswered_;  // pushes, by the first partition of their set
  std::vector<std::byte> scratch_;
  std::vector<std::uint32_t> missing_;
};

}  // namespace sheaf::worker
