// Workers of a small job that send again what was not acknowledged, for tests that lose servers in
// the midst of it, and what such a job ends with.
#pragma once

#include <cmath>
#include <vector>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {

inline constexpr std::uint32_t kPartitions = 3;
inline constexpr Step kSteps = 4;

// What one worker sends; sent again until it is acknowledged.
struct Request {
  wire::Header header;
  float value = 0;
  bool settled = false;
};

inline bool answers(const Reply& reply, const Request& request) {
  const wire::Header& r = reply.header;
  const wire::Header& q = request.header;
  const auto type = q.type == wire::FrameType::init   ? wire::FrameType::init_ack
                    : q.type == wire::FrameType::push ? wire::FrameType::push_ack
                                                      : wire::FrameType::end_ack;
  return r.type == type && r.chunk == q.chunk && r.step == q.step && r.partitions == q.partitions;
}

class Workers {
 public:
  // `spoilt`: what partition 0 has of a chunk in the second step is not finite.
  explicit Workers(ShardJob& job, bool spoilt = false) : job_(job), spoilt_(spoilt) {}

  // Everything of one step: partition 1 has nothing in the third one.
  void begin(Step step) {
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      if (step == 2 && p == 1) {
        for (const std::uint32_t c : first_chunks()) {
          open_.push_back({ShardJob::header(wire::FrameType::end, step, c, {p, 1})});
        }
        continue;
      }
      for (std::uint32_t c = 0; c < job_.chunks().size(); ++c) {
        Request push{ShardJob::header(wire::FrameType::push, step, c, {p, 1})};
        push.header.value = 1 + p;
        push.value = static_cast<float>(static_cast<int>(p + 1 + step) * (c % 2 == 0 ? 1 : -1));
        if (spoilt_ && step == 1 && p == 0 && c == 1) push.value = INFINITY;
        open_.push_back(push);
      }
    }
  }
  void initialise() {
    for (std::uint32_t c = 0; c < job_.chunks().size(); ++c) {
      open_.push_back({ShardJob::header(wire::FrameType::init, 0, c, {}), 0.5F});
    }
  }
  // Sends what is open, at most as many frames as are left; false: the server was killed before.
  bool send_all(std::size_t& left) {
    for (Request& request : open_) {
      if (left-- == 0) return false;
      std::vector<float> values(job_.chunks()[request.header.chunk].size, request.value);
      if (request.header.type == wire::FrameType::end) values.clear();
      try {
        job_.send(request.header, std::as_bytes(std::span(values)));
      } catch (const Descent::Died&) {
        return false;
      }
      settle();
    }
    return true;
  }
  void settle() {
    for (const Reply& reply : job_.replies) {
      for (Request& request : open_) request.settled |= answers(reply, request);
    }
    job_.replies.clear();
  }
  void drop_settled() {
    std::erase_if(open_, [](const Request& r) { return r.settled; });
  }
  const std::vector<Request>& open() const { return open_; }

 private:
  // Of each lane.
  std::vector<std::uint32_t> first_chunks() const {
    std::vector<std::uint32_t> chunks;
    for (std::uint32_t c = 0; c < job_.chunks().size(); ++c) {
      const auto in_lane = [&](std::uint32_t other) {
        return job_.shards().at(other) == job_.shards().at(c);
      };
      if (std::ranges::none_of(chunks, in_lane)) chunks.push_back(c);
    }
    return chunks;
  }

  ShardJob& job_;
  bool spoilt_;
  std::vector<Request> open_;
};

struct Ending {
  std::vector<float> parameters;
  std::vector<float> state;
  bool operator==(const Ending&) const = default;
};

inline Ending ending_of(ShardJob& job) {
  Ending ending;
  for (std::uint32_t c = 0; c < job.chunks().size(); ++c) {
    const auto values = job.parameters(kSteps, c);
    ending.parameters.insert(ending.parameters.end(), values.begin(), values.end());
  }
  const std::size_t before = job.saved.size();
  for (std::size_t lane = 0; lane < job.lane_count(); ++lane) {
    check(job.shard(lane).checkpoint_at(kSteps, true), "nobody has passed it");
  }
  for (std::size_t i = before; i < job.saved.size(); ++i) {
    const auto& values = job.saved[i].values;
    ending.state.insert(ending.state.end(), values.begin(), values.end());
  }
  return ending;
}

// A gate; or bsp whose servers know more than parameters: steps that are clipped, or left out where
// they are not finite, pulls with feedback ("followed"), and gradients that they are told
// differences of ("told").
inline ShardJobOptions lossy_options(const std::string& kind) {
  ShardJobOptions options{.tensors = {16, 16, 16}, .partitions = kPartitions, .gate = kind};
  if (kind == "ssp") options.gate_keys = "staleness = 1";
  if (kind != "clipped" && kind != "skipped" && kind != "followed" && kind != "told") {
    return options;
  }
  options.gate = "bsp";
  options.clip_norm = kind == "clipped" ? 2 : 0;
  options.skip_non_finite = kind == "skipped";
  options.lossy_pull = options.pull_feedback = kind == "followed";
  if (kind == "told") options.differences_of = 6;
  return options;
}

}  // namespace sheaf::server
