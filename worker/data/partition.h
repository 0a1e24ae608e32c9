// The front door to the data of one process: it loads the rows of the partitions that the process
// hosts, and no others. A Partition is one partition's share of one part, a view into its set.
// The content and order of a partition do not depend on what else the process hosts. The set owns
// the examples; after construction both are immutable and thread-safe.
//
// By user it is users that are dealt out to parts and partitions, each with all examples that the
// source gives for training; within a partition those of a user stand together, in file order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "worker/data/examples.h"
#include "worker/data/source.h"
#include "worker/data/split.h"

namespace sheaf::worker {

// Rows of a block in an evaluation. Fixed, so that the shapes of its matrix products, and so the
// bits of its sums, do not depend on who hosts a partition.
inline constexpr std::size_t kEvaluationBlock = 256;

class Partition {
 public:
  Partition(const Examples& examples, std::span<const std::uint32_t> rows)
      : examples_(&examples), rows_(rows) {}

  std::uint64_t size() const { return rows_.size(); }

  // Makes `into` the batch of the examples at these places (0 .. size() - 1) of the partition.
  // Allocates nothing. REQUIRES: `into` has room for them.
  void gather(std::span<const std::uint64_t> places, const Normaliser& normaliser,
              Batch& into) const;

  // Blocks of kEvaluationBlock examples, the last one shorter, in the partition's order.
  std::size_t blocks() const { return (rows_.size() + kEvaluationBlock - 1) / kEvaluationBlock; }
  // REQUIRES: block < blocks(), room for kEvaluationBlock rows.
  void block(std::size_t block, const Normaliser& normaliser, Batch& into) const;

  // Where the examples stand: rows()[i] is the place in examples() of the partition's i-th.
  const Examples& examples() const { return *examples_; }
  std::span<const std::uint32_t> rows() const { return rows_; }

 private:
  const Examples* examples_;
  std::span<const std::uint32_t> rows_;
};

struct Partitioning {
  std::uint32_t partitions = 1;
  Split::Fractions fractions;  // of what the source offers for training
  std::uint64_t seed = 0;
  bool by_user = false;  // REQUIRES: the source says whose each row is
};

// How many things a source has for training that are dealt out: rows, or users.
std::uint64_t dealt_out(Source& source, bool by_user);

// Why a source with these row counts cannot be split this way, or nothing. (A test fraction and a
// test set of the source's own contradict each other.)
std::optional<std::string> partitioning_problem(std::uint64_t train_rows, std::uint64_t test_rows,
                                                const Partitioning& how);

class PartitionSet {
 public:
  // Reads the source once for each set it has, and its users before. Throws Fault::data if it has
  // no examples or gives other rows than it announced, and Fault::config where
  // partitioning_problem() has a reason.
  PartitionSet(Source& source, const Partitioning& how, PartitionRange hosted);

  const Schema& schema() const { return train_.examples.schema(); }
  PartitionRange hosted() const { return hosted_; }
  std::uint32_t partitions() const { return train_.split.partitions(); }

  // Examples of a part: in all partitions, and in any one of them (hosted or not).
  std::uint64_t size(Part part) const;
  std::uint64_t size(Part part, std::uint32_t partition) const;

  bool by_user() const { return train_.by_user.has_value(); }
  // The user u of a partition has the places from [u] to [u + 1] of its training examples.
  // REQUIRES: by_user(), hosted().contains(partition).
  std::span<const std::uint64_t> user_begins(std::uint32_t partition) const;

  // REQUIRES: hosted().contains(partition).
  Partition part(Part part, std::uint32_t partition) const;
  Partition train(std::uint32_t partition) const { return part(Part::train, partition); }
  Partition validation(std::uint32_t partition) const { return part(Part::validation, partition); }
  Partition test(std::uint32_t partition) const { return part(Part::test, partition); }

  // What the examples kept here take, in bytes.
  std::size_t memory() const {
    return train_.examples.memory() + (test_ ? test_->examples.memory() : 0);
  }

  // Visits every example kept here, to check its targets; Source::locate() names the row.
  using TargetVisitor =
      std::function<void(SourcePart part, std::uint64_t row, std::span<const float> targets)>;
  void each_target(const TargetVisitor& visit) const;

 private:
  // One of the source's two sets of rows, as far as this process keeps it.
  struct ByUser {
    std::array<std::vector<std::uint64_t>, 3> examples;  // by part and partition, hosted or not
    std::vector<std::vector<std::uint64_t>> begins;      // user_begins, from hosted().first
  };
  struct Home {
    Split split;  // of rows, or of users
    Examples examples;
    // By part, then by partition from hosted().first: where the partition's examples are.
    std::array<std::vector<std::vector<std::uint32_t>>, 3> rows;
    std::optional<ByUser> by_user;
  };
  static Home load(Source& source, SourcePart part, const Split& split, PartitionRange hosted);
  static Home load_by_user(Source& source, const Partitioning& how, PartitionRange hosted);
  const Home& home(Part part) const { return part == Part::test && test_ ? *test_ : train_; }

  PartitionRange hosted_;
  Home train_;
  std::optional<Home> test_;  // the source's own test set
};

}  // namespace sheaf::worker
