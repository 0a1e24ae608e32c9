// The books of whole runs with error feedback, of every compressor that may have it: chunk by chunk
// and partition by partition all gradients are what was sent and what is left out, to the last bit,
// though workers are killed anywhere in a step and followed by others, and all go back to a
// checkpoint on other workers. Gradients are multiples of 2^-10, whose sums do not round. What is
// sent is, byte by byte, what a run sends that nobody interrupts.
#include "common/compression/error_feedback.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "common/base/random.h"
#include "common/checkpoint/data_file.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/reader.h"
#include "common/checkpoint/store.h"
#include "common/cluster/keeper.h"
#include "common/config/section.h"
#include "common/params/partition_tree.h"
#include "tests/harness/temporary_folder.h"
#include "worker/residuals/residual_saver.h"

namespace sheaf::compression {
namespace {

constexpr std::uint32_t kPartitions = 3;
constexpr Step kRun = 40;
constexpr Duration kKeeperLimit = std::chrono::seconds(30);

struct FeedbackMode {
  std::string name;
  std::string options;
  friend void PrintTo(const FeedbackMode& m, std::ostream* out) {
    *out << m.name << " " << m.options;
  }
};

std::unique_ptr<Compressor> make_mode(const FeedbackMode& mode) {
  const auto document = config::Document::from_text(mode.options, "job.toml");
  return find_mode(compressors(), mode.name)->make(document->root());
}

// All but those that may not have it: whose mean is right by itself.
std::vector<FeedbackMode> feedback_modes() {
  std::vector<FeedbackMode> all;
  for (const auto name : mode_names(compressors())) all.push_back({std::string(name), ""});
  all.push_back({"topk", "ratio = 0.1\nvalues = 8"});
  all.push_back({"topk", "ratio = 0.1\nvalues = 2"});
  all.push_back({"randomk", "ratio = 0.2\nunbiased = false"});
  std::erase_if(
      all, [](const FeedbackMode& mode) { return make_mode(mode)->promises(1 << 16).unbiased; });
  return all;
}

params::Layout books_layout() {
  params::Layout layout;
  layout.add("a", {37, 11}, {});
  layout.add("b", {9}, {});
  return layout;
}

// Each partition has no examples in some steps.
bool takes_part(Step step, std::uint32_t partition) { return (step + partition) % 7 != 3; }

std::vector<float> lattice_gradient(Step step, std::uint32_t partition,
                                    const params::Chunk& chunk) {
  Stream stream(41, Purpose::test, step, partition, chunk.offset);
  std::vector<float> g(chunk.size);
  for (float& value : g) {
    value = static_cast<float>(static_cast<int>(stream.next() % 513) - 256) * 0x1p-10F;
  }
  return g;
}

// Step, partition, chunk.
using Push = std::tuple<Step, std::uint32_t, std::uint32_t>;

class BooksRun {
 public:
  explicit BooksRun(const FeedbackMode& mode) : push_(make_mode(mode)) { begin(2, 0); }

  // Where a worker is killed within a step: in the last push of a partition, so that all others of
  // it may have left.
  enum class Kill { none, while_writing, before_it_leaves, after_it_has_left };

  // All workers take the next step; the one that hosts the partition is killed in it, and followed.
  void take_step(Kill kill = Kill::none, std::uint32_t of = 0) {
    for (auto& worker : workers_) {
      worker->saver->on_begin(step_);
      const bool dies = kill != Kill::none && worker->hosted.contains(of);
      if (!work(*worker, dies ? kill : Kill::none, of)) continue;
      follow(worker);
      worker->saver->on_begin(step_);
      work(*worker, Kill::none, 0);
    }
    ++step_;
  }

  // Writes a checkpoint while the next step is taken.
  void save() {
    for (auto& worker : workers_) worker->saver->order(step_);
    const Step version = step_;
    sent_then_ = sent_;
    take_step();
    checkpoint::Manifest manifest;
    manifest.step = version;
    manifest.layout = layout_;
    manifest.add(parameters_of(version));
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30),
                                  [&] { return written_.size() == workers_.size(); }));
    for (const auto& file : written_) manifest.add(file);
    written_.clear();
    checkpoint::Store(disk_, checkpoints()).commit(manifest);
  }

  // All end, and what they had in memory with them; others go on from the newest checkpoint.
  void go_back(std::uint32_t workers) {
    workers_.clear();
    const auto choice = checkpoint::Store(disk_, checkpoints()).newest_verified();
    ASSERT_TRUE(choice.manifest);
    sent_ = sent_then_;
    begin(workers, choice.manifest->step, &*choice.manifest);
  }

  void finish() {
    while (step_ < kRun) take_step();
  }

  const std::map<Push, std::vector<std::byte>>& sent() const { return sent_; }

  // The largest difference, in units of the last bit of the largest value there was.
  double imbalance() {
    double worst = 0;
    for (auto& worker : workers_) {
      for (std::uint32_t p = worker->hosted.first; p < worker->hosted.end(); ++p) {
        for (std::uint32_t c = 0; c < chunks_.size(); ++c)
          worst = std::max(worst, open(*worker, p, c));
      }
    }
    return worst;
  }

 private:
  struct Worker {
    std::uint32_t id = 0;
    std::uint32_t incarnation = 0;
    PartitionRange hosted;
    std::unique_ptr<worker::Residuals> residuals;
    std::unique_ptr<worker::ResidualSaver> saver;
  };

  std::filesystem::path checkpoints() const { return folder_.path() / "checkpoints"; }
  net::Credentials credentials() const {
    wire::Identity identity;
    identity.process = {Role::worker, 0};
    return {key_, identity, net::Encryption::between_hosts};
  }

  void begin(std::uint32_t workers, Step step, const checkpoint::Manifest* manifest = nullptr) {
    step_ = step;
    disk_.make_folder(checkpoints());
    client_.reset();
    keeper_.reset();
    key_ = wire::JobKey();  // another attempt
    keeper_ = cluster::Keeper::start(credentials(), kKeeperLimit);
    client_ = std::make_unique<cluster::KeeperClient>(credentials(), kKeeperLimit);
    for (std::uint32_t w = 0; w < workers; ++w) {
      workers_.push_back(start(w, 0, workers));
      EXPECT_EQ(workers_.back()->residuals->left_by(), std::nullopt);
      worker::Residuals::Restore restore = nullptr;
      std::optional<checkpoint::Reader> reader;
      if (manifest != nullptr) {
        reader.emplace(disk_, checkpoints(), *manifest);
        restore = [&](std::uint32_t p, std::uint32_t run, std::size_t at, std::span<float> values) {
          reader->read_residual(p, run, at, values);
        };
      }
      workers_.back()->residuals->begin(step, restore);
    }
  }

  std::unique_ptr<Worker> start(std::uint32_t id, std::uint32_t incarnation,
                                std::uint32_t workers) {
    auto worker = std::make_unique<Worker>();
    worker->id = id;
    worker->incarnation = incarnation;
    worker->hosted = params::hosted_partitions(kPartitions, workers, id);
    worker->residuals = std::make_unique<worker::Residuals>(
        worker::Residuals::Options{.chunks = chunks_,
                                   .hosted = worker->hosted,
                                   .push_bytes = push_->max_bytes(chunks_.largest()),
                                   .incarnation = incarnation,
                                   .keeper = client_.get(),
                                   .warn = [](const std::string& text) { ADD_FAILURE() << text; }});
    worker->saver = std::make_unique<worker::ResidualSaver>(
        disk_, *worker->residuals,
        worker::ResidualSaver::Options{
            .folder = checkpoints(),
            .file = {.layout = layout_,
                     .chunks = chunks_,
                     .partitions = worker->hosted,
                     .job = "books",
                     .worker = id,
                     .host = "here"},
            .first = step_,
            .on_answer = [](Version, bool in_time) { EXPECT_TRUE(in_time); },
            .on_done =
                [this](Version, std::optional<checkpoint::WrittenFile> file,
                       const std::string& error) {
                  EXPECT_EQ(error, "");
                  const std::lock_guard lock(mutex_);
                  if (file) written_.push_back(std::move(*file));
                  changed_.notify_all();
                }});
    return worker;
  }

  // Another one goes on with what the worker has left in memory.
  void follow(std::unique_ptr<Worker>& worker) {
    const std::uint32_t before = worker->incarnation, id = worker->id;
    worker.reset();
    worker = start(id, before + 1, static_cast<std::uint32_t>(workers_.size()));
    ASSERT_EQ(worker->residuals->left_by(), before);
    worker->residuals->adopt();
  }

  // The worker's half of a step. True if it was killed.
  bool work(Worker& worker, Kill kill, std::uint32_t of) {
    std::vector<std::byte> bytes(push_->max_bytes(chunks_.largest()));
    for (std::uint32_t p = worker.hosted.first; p < worker.hosted.end(); ++p) {
      for (auto c = static_cast<std::uint32_t>(chunks_.size()); c-- > 0;) {
        if (!takes_part(step_, p)) continue;
        worker::ResidualSlots& slots = worker.residuals->of(p);
        const bool dies = kill != Kill::none && p == of && c == chunks_.size() / 2;
        if (dies && kill == Kill::while_writing) {
          std::ranges::fill(slots.open(c, step_).first(3), 1e9F);
          return true;
        }
        const EncodingKey key{5, step_, p, c};
        std::span<const std::byte> payload;
        if (const auto again = slots.pushed(c, step_)) {
          payload = *again;
        } else {
          const auto g = lattice_gradient(step_, p, chunks_[c]);
          const std::size_t size =
              feedback_.encode(slots.before(c, step_), g, key, bytes, slots.open(c, step_));
          payload = std::span(bytes).first(size);
          slots.commit(c, step_, payload);
        }
        if (dies && kill == Kill::before_it_leaves) return true;
        const auto [place, is_new] =
            sent_.try_emplace({step_, p, c}, payload.begin(), payload.end());
        if (!is_new) {
          EXPECT_TRUE(std::ranges::equal(place->second, payload)) << "other bytes";
        }
        if (dies) return true;
      }
    }
    return false;
  }

  double open(Worker& worker, std::uint32_t partition, std::uint32_t chunk) {
    const params::Chunk& c = chunks_[chunk];
    std::vector<double> balance(c.size);
    double largest = 0;
    for (Step step = 0; step < step_; ++step) {
      if (!takes_part(step, partition)) continue;
      std::vector<float> sent(c.size);
      push_->decode_add(sent_.at({step, partition, chunk}), {5, step, partition, chunk}, sent);
      const auto g = lattice_gradient(step, partition, c);
      for (std::size_t i = 0; i < c.size; ++i) {
        balance[i] += double{g[i]} - double{sent[i]};
        largest = std::max({largest, std::abs(double{g[i]}), std::abs(double{sent[i]})});
      }
    }
    const auto left_out = worker.residuals->of(partition).before(chunk, step_);
    double worst = 0;
    for (std::size_t i = 0; i < c.size; ++i) {
      largest = std::max(largest, std::abs(double{left_out[i]}));
      worst = std::max(worst, std::abs(balance[i] - double{left_out[i]}));
    }
    return worst / (largest * 0x1p-24);
  }

  // A server's part: nothing of it matters here.
  checkpoint::WrittenFile parameters_of(Step version) {
    std::vector<std::uint32_t> ids;
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) ids.push_back(c);
    checkpoint::DataFileWriter writer(disk_, checkpoints(),
                                      {.layout = layout_,
                                       .chunks = chunks_,
                                       .ids = ids,
                                       .job = "books",
                                       .step = version,
                                       .host = "here"});
    for (const std::uint32_t c : ids) writer.write(c, std::vector<float>(chunks_[c].size), {});
    return writer.finish().at(0);
  }

  std::unique_ptr<Compressor> push_;
  params::Layout layout_ = books_layout();
  params::ChunkMap chunks_{layout_, 512};
  ErrorFeedback feedback_{*push_, chunks_.largest()};
  launcher::TemporaryFolder folder_;
  checkpoint::PosixDisk disk_;
  wire::JobKey key_;
  std::unique_ptr<cluster::Keeper> keeper_;
  std::unique_ptr<cluster::KeeperClient> client_;
  Step step_ = 0;
  std::map<Push, std::vector<std::byte>> sent_, sent_then_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<checkpoint::WrittenFile> written_;  // guarded
  std::vector<std::unique_ptr<Worker>> workers_;  // last: savers write into what is above
};

class ErrorFeedbackTest : public testing::TestWithParam<FeedbackMode> {
 protected:
  static void expect_balanced(BooksRun& run) {
    const bool exact = make_mode(GetParam())->promises(1 << 16).exact_residual;
    // Where a residual rounds it does so once a step.
    EXPECT_LE(run.imbalance(), exact ? 0.0 : 4.0 * kRun);
  }
};

TEST_P(ErrorFeedbackTest, TheBooksOfAWholeRunBalance) {
  BooksRun run(GetParam());
  run.finish();
  expect_balanced(run);
}

TEST_P(ErrorFeedbackTest, WhoeverIsKilledAndFollowedTheBooksBalance) {
  BooksRun whole(GetParam()), run(GetParam());
  whole.finish();
  for (const std::uint32_t partition : {0U, 1U, 2U}) {
    for (const BooksRun::Kill kill :
         {BooksRun::Kill::while_writing, BooksRun::Kill::before_it_leaves,
          BooksRun::Kill::after_it_has_left}) {
      run.take_step();
      run.take_step(kill, partition);
    }
  }
  run.finish();
  expect_balanced(run);
  EXPECT_EQ(run.sent(), whole.sent());
}

TEST_P(ErrorFeedbackTest, OnOtherWorkersFromACheckpointTheBooksBalance) {
  BooksRun whole(GetParam()), run(GetParam());
  whole.finish();
  for (int i = 0; i < 5; ++i) run.take_step();
  for (const std::uint32_t workers : {1U, 3U, 2U}) {
    run.take_step(BooksRun::Kill::before_it_leaves, 1);
    run.save();
    for (int i = 0; i < 3; ++i) run.take_step();  // is lost
    run.go_back(workers);
    run.take_step();
  }
  run.finish();
  expect_balanced(run);
  EXPECT_EQ(run.sent(), whole.sent());
}

INSTANTIATE_TEST_SUITE_P(Compression, ErrorFeedbackTest, testing::ValuesIn(feedback_modes()),
                         [](const auto& mode) {
                           return fmt::format("{}_{}", mode.param.name, mode.index);
                         });

}  // namespace
}  // namespace sheaf::compression
