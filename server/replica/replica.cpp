#include "server/replica/replica.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "server/chunk/blocks.h"
#include "server/chunk/view.h"

namespace sheaf::server {

using wire::FrameType;
using wire::Header;
using wire::OutFrame;
using wire::ReplicaWord;

namespace {

std::size_t largest(const Replica::Parts& parts) {
  std::size_t most = 0;
  for (const std::uint32_t id : parts.ids) most = std::max(most, parts.chunks[id].size);
  return most;
}

std::size_t encoded_bytes(const Replica::Parts& parts) {
  return parts.pull == nullptr ? 0 : parts.pull->max_bytes(largest(parts));
}

}  // namespace

Replica::Replica(const Parts& parts, bool whole)
    : parts_(parts),
      whole_(whole),
      place_(parts.chunks.size(), -1),
      copies_(parts.ids.size()),
      receiver_(parts.shape()),
      sum_(sum_bytes(largest(parts))),
      encoded_(encoded_bytes(parts)) {
  for (std::size_t n = 0; n < parts.ids.size(); ++n) {
    place_[parts.ids[n]] = static_cast<std::int32_t>(n);
  }
}

std::size_t Replica::memory_bound(const Parts& parts) {
  // A copy that is being received stands beside the one before it.
  std::size_t elements = largest(parts);
  for (const std::uint32_t id : parts.ids) elements += parts.chunks[id].size;
  return elements * parts.shape().floats() * sizeof(float) + sum_bytes(largest(parts)) +
         encoded_bytes(parts) + (parts.ids.size() + 1) * parts.clocks * sizeof(Step);
}

std::size_t Replica::index_of(const Header& header) const {
  if (header.chunk >= place_.size() || place_[header.chunk] < 0) {
    fail(Fault::network, "{} of chunk {}, of which no replica is kept here", to_string(header.type),
         header.chunk);
  }
  return static_cast<std::size_t>(place_[header.chunk]);
}

void Replica::on_connected() {
  outbox_.clear();
  giving_ = false;
  sender_ = {};
}

std::span<std::byte> Replica::receive_into(const Header& header) {
  if (giving_) fail(Fault::network, "{} while copies are given", to_string(header.type));
  std::size_t expected = 0;
  switch (header.type) {
    case FrameType::replica: break;
    case FrameType::copy:
      return receiver_.receive_into(header, parts_.chunks[parts_.ids[index_of(header)]].size);
    case FrameType::replicate:
      if (header.status == 0) {
        expected = sum_bytes(parts_.chunks[parts_.ids[index_of(header)]].size);
      }
      break;
    default: fail(Fault::network, "{} is no frame for a replica", to_string(header.type));
  }
  if (header.payload_bytes != expected) {
    fail(Fault::network, "{} of chunk {}: found {} bytes of payload, expected {}",
         to_string(header.type), header.chunk, header.payload_bytes, expected);
  }
  return sum_.span().first(expected);
}

void Replica::on_frame(const Header& header) {
  switch (header.type) {
    case FrameType::replica: return on_word(static_cast<ReplicaWord>(header.status));
    case FrameType::copy:
      if (auto copy = receiver_.on_part(header)) {
        copies_[index_of(header)] = std::move(*copy);
        acknowledge(header, header.step);
      }
      return;
    default: return on_sum(header);
  }
}

void Replica::on_word(ReplicaWord word) {
  switch (word) {
    case ReplicaWord::keep: return;
    case ReplicaWord::whole: whole_ = true; return;
    case ReplicaWord::give:
      if (!whole_) return say(ReplicaWord::part);
      giving_ = true;
      given_ = 0;
      return;
    default: fail(Fault::network, "replica word {} from a primary", static_cast<int>(word));
  }
}

void Replica::on_sum(const Header& header) {
  ChunkCopy& copy = copies_[index_of(header)];
  if (!copy.holds || copy.version != header.step || header.status > 1 ||
      header.partitions.count > parts_.clocks ||
      header.partitions.first > parts_.clocks - header.partitions.count) {
    fail(Fault::network, "sum for version {} of chunk {}, whose replica is at {}", header.step,
         header.chunk, copy.version);
  }
  const std::size_t size = copy.parameters[0].size();
  const auto sum = std::span(reinterpret_cast<const float*>(sum_.data()), size);
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  const bool changes = header.status == 0;
  const std::span<const float> in = std::as_const(copy).at(copy.version);
  const std::span<float> out = copy.at(copy.version + 1);
  optimization::OptimizerStep request;
  request.step = copy.version;
  request.gradient_scale = std::bit_cast<double>(header.value);
  copy.scalar = request.gradient_scale;  // if there is no sum
  if (changes) {
    const std::byte* const tail = sum_.data() + size * sizeof(float);
    std::memcpy(&request.rate, tail, sizeof request.rate);
    std::memcpy(&copy.scalar, tail + sizeof request.rate, sizeof copy.scalar);
  }
  const params::Chunk& chunk = parts_.chunks[header.chunk];
  each_block(chunk, [&](const params::GroupRange& range, std::size_t at, std::size_t count) {
    const auto before = in.subspan(at, count);
    const auto after = out.subspan(at, count);
    if (!changes) {
      std::ranges::copy(before, after.begin());
      return;
    }
    request.group = group_of(parts_.layout, range, parts_.local);
    const bool finite =
        optimization::take_step(parts_.optimizer, request, before, sum.subspan(at, count),
                                copy.state.span().subspan(at * runs, count * runs), after);
    if (!finite) fail(Fault::network, "sum for chunk {}: it is not finite", header.chunk);
  });
  if (parts_.pull != nullptr) {
    follow_view(*parts_.pull,
                {parts_.seed, copy.version + 1, compression::kEveryPartition, header.chunk}, out,
                copy.view(copy.version), copy.view(copy.version + 1), encoded_.span());
  }
  ++copy.version;
  copy.has_before = true;
  for (std::uint32_t p = header.partitions.first; p < header.partitions.end(); ++p) {
    ++copy.clocks[p];
  }
  acknowledge(header, copy.version);
}

void Replica::acknowledge(const Header& header, Version version) {
  OutFrame frame;
  frame.header.type = FrameType::replicated;
  frame.header.chunk = header.chunk;
  frame.header.step = version;
  outbox_.push_back(std::move(frame));
}

void Replica::say(ReplicaWord word) {
  OutFrame frame;
  frame.header.type = FrameType::replica;
  frame.header.status = static_cast<std::uint8_t>(word);
  outbox_.push_back(std::move(frame));
}

std::optional<OutFrame> Replica::next_frame() {
  while (giving_ && !sender_.more()) {
    if (given_ == copies_.size()) {
      giving_ = false;
      say(ReplicaWord::whole);
      break;
    }
    const ChunkCopy& copy = copies_[given_];
    if (copy.holds) sender_.begin(parts_.ids[given_], copy);
    ++given_;
  }
  if (sender_.more()) return sender_.next();
  if (outbox_.empty()) return std::nullopt;
  OutFrame frame = std::move(outbox_.front());
  outbox_.pop_front();
  return frame;
}

}  // namespace sheaf::server
