// The bodies of control frames: small messages between a rank and the coordinator, after the
// handshake. Serialised by Cereal behind an archive that never allocates more than the bytes it has
// been given can fill; tensors never pass through here. Plain data; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/params/layout.h"
#include "common/wire/frame.h"

namespace sheaf::wire {

// The most bytes of one control body.
inline constexpr std::size_t kControlBytes = 64U << 20;

// header.value of a control frame.
enum class ControlKind : std::uint64_t {
  registration = 1,  // rank → coordinator: Registration
  start = 2,         // coordinator → rank: Start
  losses = 3,        // worker → coordinator: Losses
  contribution = 4,  // worker → coordinator: Contribution
  total = 5,         // coordinator → worker: Total
  log = 6,           // rank → coordinator: Log
  failure = 7,       // rank → coordinator: Failure
  drain = 8,         // coordinator → worker: no body; worker → coordinator: Drain
  last_step = 9,     // coordinator → worker: Drain
  finished = 10,     // rank → coordinator: Finished
  stop = 11,         // coordinator → rank: Failure; fault 0 = the job is complete
  checkpoint = 12,   // coordinator → rank: CheckpointAt; rank → coordinator: CheckpointAnswer
  saved = 13,        // rank → coordinator: Saved
  status = 14,    // client → coordinator: Drain, which says nothing; coordinator → client: Status
  scale = 15,     // client → coordinator: Scale; coordinator → client: Log, a warning if refused
  waiting = 16,   // coordinator → server: Drain, the same; server → coordinator: Waiting
  clock = 17,     // coordinator → server: PartitionClock; server → coordinator: the same
  skipped = 18,   // server → coordinator: Drain, the step that was left out
  moved = 19,     // server → coordinator: ProcessInfo, it has taken a place; → all others: the same
  help = 20,      // worker → coordinator: Drain, a step that it waits in; → worker: PartitionClock,
                  // the partitions to compute in that step
  guest = 21,     // coordinator → worker: ProcessInfo, another worker that it is to be as well
  released = 22,  // rank → coordinator: Released, under privacy
  granted = 23,   // coordinator → worker: Drain, the first step that may not be released yet
  returned = 24,  // rank → another coordinator than it began with: Return
  resumed = 25,   // that coordinator → rank: Drain, which says nothing; it has taken over
  base = 26,      // coordinator → server: CheckpointBase
};

struct ProcessInfo {
  ProcessId process;
  std::uint32_t incarnation = 0;
  std::uint32_t pid = 0;
  std::uint64_t started = 0;  // clock ticks since boot: tells a process from its pid's heir
  std::string host;
  std::string host_id;               // equal for processes that can share memory
  std::string address;               // that the process listens on; servers only
  std::vector<std::uint16_t> ports;  // one per lane
};

struct Registration {
  ProcessInfo info;
  std::string numerics;     // what decides float bits, readable
  std::string data_digest;  // workers: of the data files, hexadecimal
  params::Layout layout;    // workers
  std::uint32_t task = 0;   // workers: metrics::Task
  std::uint32_t outputs = 0;
  std::uint32_t targets = 0;
  std::uint64_t steps = 0;  // of the whole job
  std::uint64_t steps_per_epoch = 0;
  std::uint32_t keeper_pid = 0;  // of the keeper that it has started; 0: none
  std::uint64_t keeper_started = 0;
  // Workers: whether the residuals of its partitions lie on this host, and the incarnation of the
  // worker that has left them.
  bool has_residuals = false;
  std::uint32_t residuals_of = 0;
};

struct Start {
  std::vector<ProcessInfo> roster;
  params::Layout layout;
  std::string checkpoints;  // the folder for them; empty: none are written
  Step first_step = 0;
  std::string manifest;  // of the checkpoint that the job goes on from; empty: it begins
  // Under privacy: the secret of the role that is told, 64 hexadecimal digits, and how much noise
  // there is to be, in units of the clipping norm; else empty and 0.
  std::string secret = {};
  double noise = 0;
  // Whose place is taken, with whose snapshot or replica a server goes on, and with whose residuals
  // a worker. Its pid is 0 if there is nobody, or, of a worker, if those are lost.
  ProcessInfo predecessor = {};
  // Of each server, the one that keeps a replica of it; empty: none does.
  std::vector<std::uint32_t> backups = {};
  // Where steps share noise: the branches of it (privacy/noise/noise_branch.h), first steps and
  // names.
  std::vector<Step> branch_steps = {};
  std::vector<std::string> branch_names = {};
};

// A checkpoint that is whole and stays until that of `version` is, or has failed: what has not
// changed since need not be written again.
struct CheckpointBase {
  Version version = 0;
  Version base = 0;
};

// What a rank tells a coordinator that takes over from one that has died, before anything else.
struct Return {
  Registration registration;
  Step first_step = 0;  // that it was told to begin at
  Step begun = 0;       // steps, by a worker
  Step known_from = 0;  // a worker tells its losses again from this step on
  bool draining = false;
  bool ends = false;             // a worker has been told the first step that is not taken:
  Step last_step = 0;            // that one
  std::vector<Version> ordered;  // checkpoints that it has been told of and has not written yet
  std::vector<std::uint32_t> backups;      // of each server, as it was told; empty: there are none
  std::vector<CheckpointBase> bases = {};  // of checkpoints that it has been told of
};

// Every chunk is to be saved when it has taken so many steps; or is not any more.
struct CheckpointAt {
  Version version = 0;
  bool abandoned = false;
  bool end = false;  // the job ends there
};

struct CheckpointAnswer {
  Version version = 0;
  bool in_time = true;  // else a chunk had passed it
  bool writes = true;   // a server without chunks writes nothing
};

struct SavedChunk {
  std::uint64_t offset = 0;  // elements of the vector
  std::uint64_t size = 0;
  std::uint64_t at = 0;  // bytes of the file
  std::uint32_t crc = 0;
};

struct SavedResidual {
  std::uint32_t partition = 0;
  std::uint32_t run = 0;
  SavedChunk chunk;
};

// A file, and those of its extents that are of a checkpoint.
struct SavedFile {
  std::string name;  // relative to the folder
  std::uint64_t bytes = 0;
  std::uint64_t header_bytes = 0;
  std::uint32_t header_crc = 0;
  std::string host;
  std::vector<SavedChunk> chunks;
  std::vector<SavedResidual> residuals = {};
};

// The part of a server or a worker in a checkpoint: the file that it has written, and those of
// older checkpoints that hold what has not changed; or why there is none.
struct Saved {
  Version version = 0;
  std::string error;  // empty: it is there
  std::vector<SavedFile> files = {};
};

// Chunks of a step that were released with noise: those of one lane of a server, or all of one
// partition.
struct Released {
  Step step = 0;
  std::uint32_t partition = 0;  // 0 where servers add the noise
  std::uint32_t lane = 0;       // of the server
  std::uint32_t chunks = 0;
  std::vector<std::uint64_t> digest;  // of 256 bits; the same for the same values
};

struct StepLoss {
  Step step = 0;
  std::uint32_t partition = 0;
  std::uint64_t examples = 0;
  double loss_sum = 0;
  bool rejected = false;  // its gradient is not finite: it counts without examples
};

// Bytes of frames of one worker so far, header and payload, as FORMAT.md counts them.
struct Traffic {
  std::uint64_t push_bytes = 0;
  std::uint64_t pull_bytes = 0;
  std::uint64_t push_bytes_raw = 0;  // the same as floats
  std::uint64_t pull_bytes_raw = 0;

  Traffic& operator+=(const Traffic& other);
};

struct Losses {
  std::vector<StepLoss> rows;
  Traffic traffic;
};

// One vector per partition, to be summed over the partition tree or put one after the other.
struct Contribution {
  std::string tag;
  bool sum = true;
  std::vector<std::pair<std::uint32_t, std::vector<double>>> values;
};

struct Total {
  std::string tag;
  std::vector<double> values;
};

struct Log {
  bool warning = false;
  std::string text;
};

struct Failure {
  ProcessId process;  // at fault
  std::int32_t fault = 0;
  std::string phase;
  std::string text;
};

// The first step that is not taken any more (from the coordinator), or that this worker has not
// begun (from a worker).
struct Drain {
  Step step = 0;
};

// What an open step of a server lacks.
struct Waiting {
  std::string text;                       // empty: nothing is open
  std::vector<std::uint32_t> partitions;  // whose pushes are missing
  Step step = 0;                          // of them
  Survives survives = Survives::ram;      // what it acknowledges does
};

// How many steps of each of these partitions every chunk of a server has.
struct PartitionClock {
  std::uint32_t first = 0;  // partitions [first, first + count)
  std::uint32_t count = 0;
  Step step = 0;  // the answer; the largest number there is if the server has no chunks
  // Of a question: who is to host them from now on; whoever did before gets no word in any more.
  std::uint32_t worker = 0;
  std::uint32_t incarnation = 0;
};

// How many workers a job is to have.
struct Scale {
  std::uint32_t workers = 0;
};

struct MemberStatus {
  ProcessId process;
  std::uint32_t pid = 0;
  std::string host;
  std::string state;          // as in processes.json
  double silent_seconds = 0;  // since it was last heard
};

struct Status {
  std::string job;
  std::string phase;
  Step step = 0;             // steps begun
  Step steps = 0;            // of the whole job; 0: not known yet
  double still_seconds = 0;  // since a step was begun
  bool saved = false;        // there is a checkpoint:
  Step checkpoint = 0;       // the newest
  std::uint32_t incarnation = 0;
  std::uint32_t partitions = 0;
  std::vector<MemberStatus> members;   // servers, then workers
  std::vector<std::string> waits;      // who waits for whom, a line for each server
  std::vector<std::string> set_aside;  // hosts that get no replacements for a while, a line each
  std::string survives;                // what acknowledged steps do; empty: a server did not answer
};

struct Finished {
  Traffic traffic;
  std::uint64_t duplicates = 0;
  double cpu_seconds = 0;
  std::uint64_t peak_rss_bytes = 0;
  double training_seconds = 0;  // workers: first gradient to last applied step
  Step steps = 0;
  std::uint32_t shared_lanes = 0;  // workers: lanes that they share memory with
  std::uint32_t lanes = 0;         // workers: all lanes
  double exchange_seconds = 0;     // workers: from first push to last parameter, over all steps
  std::uint64_t dropped = 0;       // servers: pushes that steps went without
  std::uint64_t stood_in = 0;  // workers: times that one has computed a late one's part of a step
  // Servers: of each lane and checkpoint, the longest copying of chunks in one go, in seconds.
  std::vector<double> lane_pauses;
  Survives survives = Survives::ram;  // servers: what all that they acknowledged does
};

template <typename Message>
std::vector<std::byte> to_bytes(const Message& message);

// Throws Fault::network if the bytes are not exactly one message.
template <typename Message>
Message from_bytes(std::span<const std::byte> bytes);

}  // namespace sheaf::wire
