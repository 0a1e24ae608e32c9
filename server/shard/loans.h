// Pushes whose values stay where the worker wrote them, in memory that it shares with us. They are
// read in place; what has become part of a sum is given back when that sum has been used: only then
// is the push acknowledged, and the worker may write there again.
// Belongs to one lane; not thread-safe. Outlives the Buffers that it made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/base/buffer_pool.h"
#include "common/wire/frame.h"

namespace sheaf::server {

// Names a connection of the lane; the lane chooses the numbers.
using SessionId = std::uint32_t;

class Loans final : public Buffer::Owner {
 public:
  struct Loan {
    SessionId session = 0;
    wire::Header header;  // of the push
  };

  // The values of a push, to be read only.
  Buffer take(SessionId session, const wire::Header& header, std::span<const std::byte> values);
  // The values are part of a sum now: the loan is to be acknowledged when they have been used.
  void use(const Buffer& values);
  // The next used loan that has been given back since the last call; false if there is none.
  bool next_returned(Loan& loan);
  // Nobody waits for these any more.
  void forget(SessionId session);
  // Whether something that the session lent is still to be read.
  bool holds(SessionId session) const;

  void returned(Buffer::Block& block) noexcept override;

 private:
  struct Slot {
    Buffer::Block block;
    Loan loan;
    bool used = false;
  };
  Slot& slot_of(const Buffer::Block& block);

  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  std::vector<Slot*> returned_;
};

}  // namespace sheaf::server
