#include "worker/data/partition.h"

#include <algorithm>
#include <numeric>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr std::array kParts = {Part::train, Part::validation, Part::test};

constexpr std::size_t index_of(Part part) { return static_cast<std::size_t>(part); }

void require_partitioning(Source& source, const Partitioning& how) {
  const std::uint64_t rows = source.rows(SourcePart::train);
  if (const auto problem = partitioning_problem(rows, source.rows(SourcePart::test), how)) {
    fail(rows == 0 ? Fault::data : Fault::config, "data: {}", *problem);
  }
}

Split split_training_rows(Source& source, const Partitioning& how) {
  require_partitioning(source, how);
  return Split(source.rows(SourcePart::train), how.fractions, how.partitions, how.seed);
}

std::vector<std::uint32_t> users_of(Source& source) {
  std::vector<std::uint32_t> users = source.users();
  if (users.size() != source.rows(SourcePart::train)) {
    fail(Fault::data, "{}: found users of {} rows, expected {}; did the data change?",
         source.locate(SourcePart::train, 0), users.size(), source.rows(SourcePart::train));
  }
  return users;
}

std::uint64_t number_of(std::span<const std::uint32_t> users) {
  return users.empty() ? 0 : std::uint64_t{*std::ranges::max_element(users)} + 1;
}

// Reads the hosted rows of a set, which must be `expected`.
void read_rows(Source& source, SourcePart part, const RowFilter& is_hosted, std::uint64_t expected,
               Examples& into) {
  if (expected == 0) return;
  into.reserve(expected);
  source.read(part, is_hosted, into);
  if (into.size() == expected) return;
  fail(Fault::data, "{}: found {} examples of this process, expected {}; did the data change?",
       source.locate(part, 0), into.size(), expected);
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

std::uint64_t dealt_out(Source& source, bool by_user) {
  return by_user ? number_of(users_of(source)) : source.rows(SourcePart::train);
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
      train_(how.by_user
                 ? load_by_user(source, how, hosted)
                 : load(source, SourcePart::train, split_training_rows(source, how), hosted)) {
  const std::uint64_t test_rows = source.rows(SourcePart::test);
  if (test_rows == 0) return;
  test_ = load(source, SourcePart::test, Split::of_test_set(test_rows, how.partitions, how.seed),
               hosted);
}

PartitionSet::Home PartitionSet::load(Source& source, SourcePart part, const Split& split,
                                      PartitionRange hosted) {
  check(hosted.end() <= split.partitions(), "hosted partitions exist");
  Home home{split, Examples(source.schema()), {}, {}};
  std::uint64_t expected = 0;
  for (const Part in : kParts) {
    auto& tables = home.rows[index_of(in)];
    for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
      tables.emplace_back(split.size(in, p));
      expected += split.size(in, p);
    }
  }
  read_rows(
      source, part, [&](std::uint64_t row) { return hosted.contains(split.place(row).partition); },
      expected, home.examples);
  for (std::uint32_t i = 0; i < expected; ++i) {
    const Split::Place place = split.place(home.examples.row(i));
    home.rows[index_of(place.part)][place.partition - hosted.first][place.index] = i;
  }
  return home;
}

PartitionSet::Home PartitionSet::load_by_user(Source& source, const Partitioning& how,
                                              PartitionRange hosted) {
  require_partitioning(source, how);
  const std::vector<std::uint32_t> users = users_of(source);
  const Split split(number_of(users), how.fractions, how.partitions, how.seed);
  check(hosted.end() <= split.partitions(), "hosted partitions exist");
  std::vector<std::uint64_t> rows_of_user(split.rows());
  for (const std::uint32_t user : users) ++rows_of_user[user];

  // Where each user's examples begin in their partition; filled one after the other below.
  std::array<std::vector<std::vector<std::uint64_t>>, 3> begins;
  for (const Part part : kParts) {
    for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
      begins[index_of(part)].emplace_back(split.size(part, p) + 1);
    }
  }
  Home home{split, Examples(source.schema()), {}, ByUser{}};
  for (auto& sizes : home.by_user->examples) sizes.resize(how.partitions);
  std::uint64_t expected = 0;
  for (std::uint64_t user = 0; user < split.rows(); ++user) {
    const Split::Place place = split.place(user);
    home.by_user->examples[index_of(place.part)][place.partition] += rows_of_user[user];
    if (!hosted.contains(place.partition)) continue;
    begins[index_of(place.part)][place.partition - hosted.first][place.index + 1] =
        rows_of_user[user];
    expected += rows_of_user[user];
  }
  for (const Part part : kParts) {
    for (auto& of_partition : begins[index_of(part)]) {
      std::partial_sum(of_partition.begin(), of_partition.end(), of_partition.begin());
      home.rows[index_of(part)].emplace_back(of_partition.back());
    }
  }
  home.by_user->begins = begins[index_of(Part::train)];

  const auto place_of = [&](std::uint64_t row) { return split.place(users[row]); };
  read_rows(
      source, SourcePart::train,
      [&](std::uint64_t row) { return hosted.contains(place_of(row).partition); }, expected,
      home.examples);
  for (std::uint32_t i = 0; i < expected; ++i) {
    const Split::Place place = place_of(home.examples.row(i));
    const std::uint32_t p = place.partition - hosted.first;
    home.rows[index_of(place.part)][p][begins[index_of(place.part)][p][place.index]++] = i;
  }
  return home;
}

std::uint64_t PartitionSet::size(Part part) const {
  const Home& from = home(part);
  if (!from.by_user) return from.split.size(part);
  const auto& sizes = from.by_user->examples[index_of(part)];
  return std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
}

std::uint64_t PartitionSet::size(Part part, std::uint32_t partition) const {
  const Home& from = home(part);
  return from.by_user ? from.by_user->examples[index_of(part)][partition]
                      : from.split.size(part, partition);
}

std::span<const std::uint64_t> PartitionSet::user_begins(std::uint32_t partition) const {
  check(by_user() && hosted_.contains(partition), "a partition of users that is hosted here");
  return train_.by_user->begins[partition - hosted_.first];
}

Partition PartitionSet::part(Part part, std::uint32_t partition) const {
  check(hosted_.contains(partition), "partition is hosted here");
  const Home& from = home(part);
  return {from.examples, from.rows[index_of(part)][partition - hosted_.first]};
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
