#include "worker/client/exchange.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::worker {

using wire::FrameType;
using wire::Header;
using wire::PushStatus;

namespace {

Header make_header(FrameType type, Step step, std::uint32_t chunk, PartitionRange partitions,
                   std::uint64_t value, std::size_t payload) {
  Header header;
  header.type = type;
  header.step = step;
  header.chunk = chunk;
  header.partitions = partitions;
  header.value = value;
  header.payload_bytes = static_cast<std::uint32_t>(payload);
  return header;
}

std::optional<FrameType> request_of(FrameType answer) {
  switch (answer) {
    case FrameType::push_ack: return FrameType::push;
    case FrameType::pull_reply: return FrameType::pull;
    case FrameType::end_ack: return FrameType::end;
    case FrameType::init_ack: return FrameType::init;
    default: return std::nullopt;
  }
}

}  // namespace

Exchange::Exchange(const Options& options, ExchangeEvents& events)
    : options_(options),
      events_(events),
      unanswered_(options.partitions, 0),
      scratch_(std::max<std::size_t>(options.largest_reply, options.partitions / 8 + 1)) {
  entries_.reserve(options.entries);
  missing_.reserve(options.partitions);
}

void Exchange::init(std::uint32_t chunk, std::span<const std::byte> values) {
  add({make_header(FrameType::init, 0, chunk, {}, 0, values.size()), values, {}});
}

void Exchange::push(Step step, std::uint32_t chunk, PartitionRange partitions,
                    std::uint64_t examples, std::span<const std::byte> payload, Lend lend) {
  Header header = make_header(FrameType::push, step, chunk, partitions, examples, payload.size());
  header.status = static_cast<std::uint8_t>(lend);
  add({header, payload, {}});
}

void Exchange::end(Step step, PartitionRange partitions, std::uint64_t examples) {
  add({make_header(FrameType::end, step, 0, partitions, examples, 0), {}, {}});
}

void Exchange::pull(Step clock, std::uint32_t chunk, PartitionRange partitions,
                    std::span<std::byte> into, Version next) {
  add({make_header(FrameType::pull, clock, chunk, partitions, next, 0), {}, into});
}

void Exchange::add(Entry entry) {
  if (open_ == 0) {  // the usual case at the start of a step: everything before is answered
    entries_.clear();
    head_ = cursor_ = 0;
  }
  entries_.push_back(entry);
  ++open_;
}

std::optional<wire::OutFrame> Exchange::next(TimePoint now) {
  while (cursor_ < entries_.size() && (entries_[cursor_].sent || entries_[cursor_].done)) ++cursor_;
  if (cursor_ == entries_.size()) return std::nullopt;
  Entry& entry = entries_[cursor_];
  if (entry.header.type == FrameType::push) {
    auto& unanswered = unanswered_[entry.header.partitions.first];
    if (unanswered == options_.window) return std::nullopt;
    ++unanswered;
  }
  entry.sent = true;
  entry.sent_at = now;
  ++cursor_;
  return wire::OutFrame{entry.header, entry.payload, {}, false};
}

Exchange::Entry* Exchange::find(const Header& answer) {
  const auto type = request_of(answer.type);
  for (std::size_t i = head_; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    const Header& request = entry.header;
    if (!entry.done && entry.sent && request.type == *type && request.chunk == answer.chunk &&
        request.step == answer.step && request.partitions == answer.partitions &&
        request.table == answer.table && request.round == answer.round) {
      return &entry;
    }
  }
  return nullptr;
}

std::span<std::byte> Exchange::receive_into(const Header& header) {
  if (!request_of(header.type)) {
    fail(Fault::network, "{} is no answer to a worker", to_string(header.type));
  }
  const Entry* entry = find(header);
  std::size_t most = 0;
  if (header.type == FrameType::pull_reply) {
    most = entry != nullptr ? entry->into.size() : options_.largest_reply;
    if (entry != nullptr && header.payload_bytes <= most) {
      return entry->into.first(header.payload_bytes);
    }
  } else if (header.type == FrameType::push_ack &&
             header.status == static_cast<std::uint8_t>(PushStatus::partial)) {
    most = (std::size_t{header.partitions.count} + 7) / 8;
    most = std::min(most, scratch_.size());
  }
  if (header.payload_bytes > most) {
    fail(Fault::network, "{} for chunk {}: found {} bytes of payload, expected at most {}",
         to_string(header.type), header.chunk, header.payload_bytes, most);
  }
  return std::span(scratch_).first(header.payload_bytes);
}

void Exchange::on_frame(const Header& header) {
  Entry* entry = find(header);
  if (entry == nullptr) return;  // answered before: a repetition
  const Header request = entry->header;
  if (header.type == FrameType::pull_reply) {
    settle(*entry);
    if (header.status != static_cast<std::uint8_t>(wire::PullStatus::difference)) {
      if (header.status == static_cast<std::uint8_t>(wire::PullStatus::superseded)) {
        events_.on_superseded(request.chunk);
      }
      return events_.on_arrived(request.chunk, request.step, header.value, header.payload_bytes);
    }
    if (request.value == 0 || header.value != request.value) {
      fail(Fault::network, "pull_reply of chunk {}: found what is new in version {}, expected {}",
           request.chunk, header.value,
           request.value == 0 ? "the whole version"
                              : fmt::format("that of {} or a whole one", request.value));
    }
    return events_.on_difference(request.chunk, request.step, header.value, header.payload_bytes);
  }
  if (header.type == FrameType::push_ack &&
      header.status == static_cast<std::uint8_t>(PushStatus::partial)) {
    if (header.payload_bytes != (request.partitions.count + 7) / 8) {
      fail(Fault::network, "push_ack for chunk {}: found a set of {} bytes for {} partitions",
           header.chunk, header.payload_bytes, request.partitions.count);
    }
    missing_.clear();
    for (std::uint32_t i = 0; i < request.partitions.count; ++i) {
      if ((scratch_[i / 8] >> (i % 8) & std::byte{1}) != std::byte{0}) {
        missing_.push_back(request.partitions.first + i);
      }
    }
    settle(*entry);
    return events_.on_partial(request, missing_);
  }
  settle(*entry);
  events_.on_settled(request);
}

void Exchange::settle(Entry& entry) {
  unsend(entry);
  entry.done = true;
  --open_;
  while (head_ < entries_.size() && entries_[head_].done) ++head_;
}

void Exchange::unsend(Entry& entry) {
  if (entry.sent && entry.header.type == FrameType::push) {
    --unanswered_[entry.header.partitions.first];
  }
  entry.sent = false;
}

void Exchange::on_tick(TimePoint now) {
  if (options_.resend_after == Duration{0}) return;
  for (std::size_t i = head_; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (!entry.sent || entry.done || now - entry.sent_at < options_.resend_after) continue;
    unsend(entry);
    cursor_ = std::min(cursor_, i);
  }
}

std::size_t Exchange::on_reconnected() {
  std::size_t sent = 0;
  for (std::size_t i = head_; i < entries_.size(); ++i) {
    if (entries_[i].done) continue;
    sent += entries_[i].sent ? 1U : 0U;
    unsend(entries_[i]);
  }
  cursor_ = head_;
  return sent;
}

std::optional<Header> Exchange::oldest() const {
  if (head_ == entries_.size()) return std::nullopt;
  return entries_[head_].header;
}

}  // namespace sheaf::worker
