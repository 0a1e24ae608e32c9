// What came of a simulated job, and whether it is what a serial loop says.
#include <cstring>

#include "common/checkpoint/reader.h"
#include "common/checkpoint/store.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/server_process.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

// What came of it.
void Cluster::gather() {
  for (const auto& server : servers) server->breaths.reset();
  if (!gate->synchronous()) {  // what a worker has lacks what came after its last pull
    std::vector<float> whole(all.size());
    bool there = true;
    for (std::size_t i = 0; there && i < shards.lane_count(); ++i) {
      there = lane(i)->process().alive && lane(i)->serves();
      if (there) lane(i)->read(whole);
    }
    if (there) outcome.parameters.push_back(std::move(whole));  // else the checkpoint has them
  }
  for (const auto& worker : workers) {
    if (!worker->alive || !worker->finished() || !gate->synchronous()) continue;
    if (worker->attempt != attempt) continue;
    const auto final_parameters = worker->parameters(options.steps);
    outcome.parameters.emplace_back(final_parameters.begin(), final_parameters.end());
  }
  for (Step step = 0; step < options.steps; ++step) {
    for (std::uint32_t p = 0; p < options.partitions; ++p) {
      const std::pair which(step, p);
      const bool in = added[0].contains(which);
      for (const auto& [chunk, pushes] : added) {
        if (pushes.contains(which) == in) continue;
        fail(Fault::internal, "step {} of partition {} is in chunk {}: {}, in chunk 0: {}", step, p,
             chunk, !in, in);
      }
      if (!in) outcome.dropped.insert(which);
    }
  }
  for (std::size_t i = 0; i < shards.lane_count(); ++i) {
    LaneServer& lane = *this->lane(i);
    if (!lane.shard) continue;
    outcome.dropped_pushes += lane.shard->dropped();
    outcome.duplicates += lane.shard->duplicates();
    outcome.most_ahead = std::max(outcome.most_ahead, lane.checker->most_ahead());
  }
  if (options.feedback) check_books();
  if (options.coordinated) check_last_checkpoint();
  if (!gate->synchronous() && outcome.parameters.empty()) {
    outcome.parameters.push_back(outcome.saved);
  }
}

// What a partition's gradients were is what was added of it and what it has kept, value by value.
void Cluster::check_books() {
  for (const auto& worker : workers) {
    if (!worker->alive || !worker->finished() || worker->attempt != attempt) continue;
    for (const std::uint32_t p : worker->hosted()) {
      ++outcome.books;
      for (std::uint32_t c = 0; c < chunks.size(); ++c) {
        const std::span<const float> kept = worker->residual(p, c, options.steps);
        std::vector<float> open(kept.begin(), kept.end());
        for (Step step = worker->has_all_since(p); step < options.steps; ++step) {
          if (examples(options, step, p) == 0) continue;
          const auto whole = gradient(options, step, p, chunks[c], {});
          const auto& sent = outcome.added.at({c, step, p});
          for (std::size_t i = 0; i < open.size(); ++i) open[i] += sent[i] - whole[i];
        }
        check(std::ranges::all_of(open, [](float value) { return value == 0; }),
              "what was sent and what was kept are what there was");
      }
    }
  }
}

void Cluster::check_last_checkpoint() {
  checkpoint::Store store(disk, kCheckpoints);
  const auto choice = store.newest_verified();
  check(choice.manifest && choice.manifest->step == options.steps,
        "the job ends with a checkpoint");
  outcome.saved.resize(all.size());
  std::vector<float> counts(all.size());
  checkpoint::Reader reader(disk, kCheckpoints, *choice.manifest);
  for (const params::Chunk& chunk : chunks.chunks()) {
    reader.read(chunk.offset, std::span(outcome.saved).subspan(chunk.offset, chunk.size),
                std::span(counts).subspan(chunk.offset, chunk.size));
  }
  for (const params::Tensor& tensor : all.tensors()) {
    const float expected = is_still(options, all.groups()[tensor.group]) ? 0 : counts[0];
    const auto theirs = std::span(counts).subspan(tensor.offset, tensor.size);
    check(std::ranges::count(theirs, expected) == static_cast<std::ptrdiff_t>(theirs.size()),
          "all parameters have had as many updates");
  }
  outcome.updates = static_cast<std::uint64_t>(counts[0]);
}

Outcome run(const Options& options) { return Cluster(options).run(); }

std::string violation(const Options& options, Outcome& outcome) {
  try {
    outcome = run(options);
  } catch (const Error& error) {
    return error.message();
  }
  Options taken = options;
  taken.dropped = outcome.dropped;
  taken.added = outcome.added;
  const Reference expected = reference(taken);
  const auto same = [&](const std::vector<float>& parameters) {
    return parameters.size() == expected.parameters.size() &&
           std::memcmp(parameters.data(), expected.parameters.data(),
                       parameters.size() * sizeof(float)) == 0;
  };
  if (outcome.parameters.empty()) return "no worker came to the end";
  if (!std::ranges::all_of(outcome.parameters, same)) {
    return "a worker ends with other parameters than a serial loop";
  }
  if (!options.coordinated) return {};
  if (!same(outcome.saved)) return "the last checkpoint has other parameters than a serial loop";
  if (outcome.updates != expected.updates) {
    return fmt::format("the optimizer has made {} updates, a serial loop {}", outcome.updates,
                       expected.updates);
  }
  return {};
}

}  // namespace sheaf::simulation