// A whole job in one thread: the real Shards, Exchanges, Doors, membership and checkpoints, frames
// through the real wire code, a virtual clock, a network that delays, reorders, loses and repeats
// frames, and a disk that crashes. One seed is one run.
//
// Two kinds of jobs. Without a coordinator, partitions move between workers in the middle of a
// step, more wildly than any job of today does it: a worker dies and another takes over or is
// replaced, a living one gives partitions away, a connection breaks. With one (`coordinated`),
// ranks register, hold leases and are replaced as in a real job: workers and servers are killed, in
// the middle of what they do, or are stopped and wake up when another one has their place; servers
// go on with snapshots, or with replicas that others keep of them, or all go back to the newest
// checkpoint that is whole, after a crash of the disk, too.
//
// In bsp and speculate gradients are a pure function of (partition, step, parameters), so the right
// parameters after any step can be worked out serially (reference()), without anything that is
// tested here. Behind `drop` the same loop is told which partitions steps went without, which must
// be the same for all chunks. With other gates they are whole numbers that only name partition,
// step and place: a workload that counts, whose sum is exact in any order. The history of each lane
// is checked, too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::simulation {

inline constexpr float kRate = 0.5F;
inline constexpr std::size_t kChunkBytes = 128;

// What is broken on purpose, to see that the simulation finds it. Each is one rule that the real
// code keeps, broken at the seam between it and the simulation.
enum class Mutant : std::uint8_t {
  none,
  early_acknowledgement,  // a push is acknowledged when it is here, not when it is committed
  lost_coverage,          // a server goes on with a snapshot, but without the clocks in it
  torn_commit,            // a version is named before it is written
  two_servers,            // who goes on with a snapshot does not end its predecessor
  no_fence,               // a worker's outdated self is let in
  late_fence,             // servers learn of a successor when it connects, not when they are asked
  late_start,             // a successor begins one step too late
  loose_bound,            // pulls are answered one step further ahead than ssp allows
  tight_window,           // credits are needed for what is only acknowledged with others' pushes
  deaf_reconnect,         // nothing is sent again over a new connection
  silent_scalars,         // the same of scalars, when a server has another one's place
  unsynced_files,         // the disk says that a file is safe, and it is not
  unsynced_folders,       // the same of names
  forgotten_residuals,    // a successor does not go on with what its predecessor has left out
  doubled_residuals,      // who cannot go on with that keeps what the predecessor may have sent
  early_replica,          // a push is acknowledged when its step is on its way to the backup
  stale_replica,          // a backup answers before it has taken the step, and takes the one before
  hollow_replica,         // a lost backup's successor says that it has been told everything
  unfenced_replica,       // a backup goes on listening to who has been replaced
  early_service,          // who goes on with a replica serves before it has all of it
  mute_gate,              // who was late and asks for a version that is gone gets no answer
};

// Of what was pushed: chunk, step, partition.
using PushName = std::tuple<std::uint32_t, Step, std::uint32_t>;

struct Options {
  std::uint64_t seed = 1;
  std::uint32_t partitions = 4;
  std::uint32_t workers = 2;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  Step steps = 6;
  std::string gate = "bsp";
  std::string gate_keys;
  std::uint32_t window = 3;
  double clip_norm = 0;
  bool skip = false;        // some gradients are not finite, and their steps are left out
  bool lossy_push = false;  // then each partition pushes for itself
  bool feedback = false;    // the same with topk and error feedback; gradients are whole numbers
  bool exhausted = false;   // some partitions have no examples in some steps
  // Moves, deaths, broken connections, spread over the job. Partitions move in bsp only.
  std::uint32_t faults = 0;
  double loss = 0;            // of frames between workers and servers, both ways
  double repetition = 0;      // of frames
  std::uint32_t slow = 0;     // so many times as long takes a step of the last worker
  std::uint64_t delay = 100;  // virtual milliseconds, at most

  bool coordinated = false;
  std::uint32_t losses = 0;     // processes killed, stopped or cut off, connections broken
  bool power_failures = false;  // among them, of everything at once, with the disk
  bool snapshot = false;        // servers keep them
  bool replicas = false;        // each server has another one keep a replica
  // The coordinator can kill whom it replaces. Else each process is on a host of its own: who falls
  // silent is replaced on another one, if that can be.
  bool one_host = true;
  std::uint64_t save_every = 4000;  // virtual milliseconds between checkpoints
  bool still = false;               // two thirds of the parameters, and their state, never change
  Mutant mutant = Mutant::none;

  // For reference() alone: partitions that steps went without, and what was added of each push.
  std::set<std::pair<Step, std::uint32_t>> dropped = {};
  std::map<PushName, std::vector<float>> added = {};
};

// What is the same in every job: the layout (one group frozen) and its chunks.
params::Layout layout();
// Whether elements of that group never change.
bool is_still(const Options& options, const params::Group& group);
// How many examples a partition has in a step.
std::uint64_t examples(const Options& options, Step step, std::uint32_t partition);
// One partition's gradient of one chunk, given that chunk's parameters.
std::vector<float> gradient(const Options& options, Step step, std::uint32_t partition,
                            const params::Chunk& chunk, std::span<const float> parameters);
std::vector<float> first_parameters(const Options& options = {});
// What a node of the partition tree adds to a chunk, summed serially; nothing without examples.
using Sum = std::optional<std::vector<float>>;
Sum node_sum(const Options& options, Step step, PartitionRange node, const params::Chunk& chunk,
             std::span<const float> parameters);
// The parameters after options.steps, computed by one loop, and the updates that were made.
struct Reference {
  std::vector<float> parameters;
  std::uint64_t updates = 0;
};
Reference reference(const Options& options);

struct Outcome {
  // Of each worker that lived to the end; where pushes are steps, of the servers, whole.
  std::vector<std::vector<float>> parameters;
  std::uint64_t duplicates = 0;  // pushes that servers saw again
  std::uint64_t partial = 0;     // pushes answered with what was missing
  std::uint64_t moves = 0;       // faults that took place
  bool chunks_apart = false;     // at some time, chunks of one server stood at different versions
  Step most_ahead = 0;           // of the slowest partition, when one read
  std::set<std::pair<Step, std::uint32_t>> dropped;  // partitions that steps went without
  std::uint64_t dropped_pushes = 0;                  // the same, as servers count them
  std::set<Step> skipped;
  std::map<PushName, std::vector<float>> added;  // with feedback

  // Of a coordinated job.
  std::vector<float> saved;      // parameters of its last checkpoint,
  std::uint64_t updates = 0;     // and how many updates its optimizer state has counted
  std::uint64_t kills = 0;       // processes
  std::uint64_t stops = 0;       // processes stopped, or cut off from the coordinator
  std::uint64_t adoptions = 0;   // servers that went on with a snapshot,
  std::uint64_t taken_over = 0;  // with what their backup had of a lane
  std::uint64_t made_whole =
      0;  // replicas of a lane that a lost backup's successor has whole again
  std::uint64_t pairs_lost = 0;   // servers lost that had left nothing to go on with
  std::uint64_t restarts = 0;     // of the whole job, from a checkpoint
  std::uint64_t kept_bytes = 0;   // of checkpoints, in files of older ones
  std::uint64_t crashes = 0;      // of the disk
  std::uint64_t turned_away = 0;  // outdated selves
  std::uint64_t books = 0;        // of residuals that were balanced
  std::uint64_t stood_in = 0;     // times that a worker has computed what another one owed a step
  std::uint64_t passed = 0;       // steps that late workers went past

  std::uint64_t course = 0;  // a hash of everything that was sent, and when
};

// Runs the job. Throws Error with who waits for whom if it comes to a standstill, or what was
// wrong.
Outcome run(const Options& options);

// Runs the job and compares its end with reference(). What is wrong; empty: nothing.
std::string violation(const Options& options, Outcome& outcome);

}  // namespace sheaf::simulation
