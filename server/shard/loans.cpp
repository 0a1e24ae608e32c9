#include "server/shard/loans.h"

#include <algorithm>

namespace sheaf::server {

Buffer Loans::take(SessionId session, const wire::Header& header,
                   std::span<const std::byte> values) {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    free_.reserve(slots_.size());
    returned_.reserve(slots_.size());  // so that returned() never allocates
    free_.push_back(slots_.back().get());
  }
  Slot* slot = free_.back();
  free_.pop_back();
  // The block's memory is never written: `lent` says so to everybody.
  auto* memory = const_cast<std::byte*>(values.data());
  slot->block = {{memory, values.size()}, this, true, 0};
  slot->loan = {session, header};
  slot->used = false;
  return Buffer(slot->block);
}

bool Loans::next_returned(Loan& loan) {
  while (!returned_.empty()) {
    Slot* slot = returned_.back();
    returned_.pop_back();
    free_.push_back(slot);
    if (!slot->used) continue;
    loan = slot->loan;
    return true;
  }
  return false;
}

void Loans::forget(SessionId session) {
  for (const auto& slot : slots_) {
    if (slot->loan.session == session) slot->used = false;
  }
}

bool Loans::holds(SessionId session) const {
  return std::ranges::any_of(slots_, [&](const auto& slot) {
    return slot->loan.session == session && std::ranges::find(free_, slot.get()) == free_.end() &&
           std::ranges::find(returned_, slot.get()) == returned_.end();
  });
}

Loans::Slot& Loans::slot_of(const Buffer::Block& block) {
  return **std::ranges::find_if(slots_, [&](const auto& s) { return &s->block == &block; });
}

void Loans::use(const Buffer& values) { slot_of(values.block()).used = true; }

void Loans::returned(Buffer::Block& block) noexcept { returned_.push_back(&slot_of(block)); }

}  // namespace sheaf::server
