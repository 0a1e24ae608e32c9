#include "worker/data/partition.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr std::array kParts = {Part::train, Part::validation, Part::test};

Split split_training_rows(Source& source, const Partitioning& how) {
  const std::uint64_t rows = source.rows(SourcePart::train);
  if (const auto problem = partitioning_problem(rows, source.rows(SourcePart::test), how)) {
    fail(rows == 0 ? Fault::data : Fault::config, "data: {}", *problem);
  }
  return Split(rows, how.fractions, how.partitions, how.seed);
}

}  // namespace

void Partition::gather(std::span<const std::uint64_t> places, const Normaliser& normaliser,
                       Batch& into) const {
  for (std::size_t slot = 0; slot < places.size(); ++slot) {
    const std::size_t ahead = slot + Examples::kAhead;
    if (ahead < places.size()) examples_->prefetch(rows_[places[ahead]]);
    examples_->copy(rows_[places[slot]], normaliser, into, slot);
  }
  into.examples = places.size();
}

void Partition::block(std::size_t block, const Normaliser& normaliser, Batch& into) const {
  const std::size_t first = block * kEvaluationBlock;
  const std::size_t count = std::min(kEvaluationBlock, rows_.size() - first);
  examples_->gather(rows_.subspan(first, count), normaliser, into);
}

std::optional<std::string> partitioning_problem(std::uint64_t train_rows, std::uint64_t test_rows,
                                                const Partitioning& how) {
  if (train_rows == 0) return "the source has no examples to train on";
  if (test_rows > 0 && how.fractions.test > 0) {
    return fmt::format(
        "test = {} would cut a test part, but the source brings a test set of {} "
        "examples; remove one of them",
        how.fractions.test, test_rows);
  }
  return Split::problem(how.fractions);
}

PartitionSet::PartitionSet(Source& source, const Partitioning& how, PartitionRange hosted)
    : hosted_(hosted),
      train_(load(source, SourcePart::train, split_training_rows(source, how), hosted)) {
  const std::uint64_t test_rows = source.rows(SourcePart::test);
  if (test_rows == 0) return;
  test_ = load(source, SourcePart::test, Split::of_test_set(test_rows, how.partitions, how.seed),
               hosted);
}

PartitionSet::Home PartitionSet::load(Source& source, SourcePart part, const Split& split,
                                      PartitionRange hosted) {
  check(hosted.end() <= split.partitions(), "hosted partitions exist");
  Home home{split, Examples(source.schema()), {}};
  std::uint64_t expected = 0;
  for (const Part in : kParts) {
    auto& tables = home.rows[static_cast<std::size_t>(in)];
    for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
      tables.emplace_back(split.size(in, p));
      expected += split.size(in, p);
    }
  }
  if (expected == 0) return home;
  home.examples.reserve(expected);
  source.read(
      part, [&](std::uint64_t row) { return hosted.contains(split.place(row).partition); },
      home.examples);
  if (home.examples.size() != expected) {
    fail(Fault::data, "{}: found {} examples of this process, expected {}; did the data change?",
         source.locate(part, 0), home.examples.size(), expected);
  }
  for (std::uint32_t i = 0; i < expected; ++i) {
    const Split::Place place = split.place(home.examples.row(i));
    home.rows[static_cast<std::size_t>(place.part)][place.partition - hosted.first][place.index] =
        i;
  }
  return home;
}

Partition PartitionSet::part(Part part, std::uint32_t partition) const {
  check(hosted_.contains(partition), "partition is hosted here");
  const Home& from = home(part);
  return {from.examples, from.rows[static_cast<std::size_t>(part)][partition - hosted_.first]};
}

void PartitionSet::each_target(const TargetVisitor& visit) const {
  const auto visit_all = [&](SourcePart part, const Examples& examples) {
    for (std::size_t i = 0; i < examples.size(); ++i) {
      visit(part, examples.row(i), examples.targets(i));
    }
  };
  visit_all(SourcePart::train, train_.examples);
  if (test_) visit_all(SourcePart::test, test_->examples);
}

}  // namespace sheaf::worker
