#include "tests/cluster/job_site.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/compression/by_chunk.h"
#include "common/privacy/correlated/correlated_gaussian.h"
#include "common/privacy/gaussian.h"
#include "tests/server/shard/shard_job.h"
#include "worker/data/examples.h"
#include "worker/data/split.h"

namespace sheaf::threads {
namespace {

constexpr std::size_t kFeatures = 6;
constexpr std::uint64_t kExamplesPerUser = 3;
constexpr char kModel[] = R"([model]
loss = "mse"
layers = [
  { kind = "dense", units = 9, activation = "tanh" },
  { kind = "dropout", rate = 0.2 },
  { kind = "dense", units = 7, rate_scale = 0.5 },
  { kind = "dense", units = 1 },
]
)";

// y = sum of squares of normal inputs; every row a function of its number.
class Points final : public worker::Source {
 public:
  explicit Points(const JobOptions& o)
      : rows_(o.examples), spoilt_(o.spoilt_row), users_(o.users) {}
  worker::Schema schema() override { return {kFeatures, 1}; }
  std::uint64_t rows(worker::SourcePart part) override {
    return part == worker::SourcePart::train ? rows_ : 0;
  }
  void read(worker::SourcePart, const worker::RowFilter& keep, worker::Examples& into) override {
    for (std::uint64_t row = 0; row < rows_; ++row) {
      if (!keep(row)) continue;
      Stream stream(kSeed, Purpose::test, row);
      std::vector<float> inputs(kFeatures);
      float target = 0;
      for (float& x : inputs) {
        x = static_cast<float>(stream.normal());
        target += x * x;
      }
      if (row == spoilt_) target = std::numeric_limits<float>::max();
      into.append(row, std::span<const float>(inputs), {&target, 1});
    }
  }
  std::string locate(worker::SourcePart, std::uint64_t row) const override {
    return fmt::format("row {}", row);
  }
  std::vector<std::filesystem::path> files() const override { return {}; }
  std::string users_by() const override { return users_ == 0 ? "" : "number"; }
  // Some have more examples than others.
  std::vector<std::uint32_t> users() override {
    std::vector<std::uint32_t> owners;
    for (std::uint64_t row = 0; row < rows_; ++row) {
      owners.push_back(static_cast<std::uint32_t>(row < users_ ? row : row * row % users_));
    }
    return owners;
  }

 private:
  std::uint64_t rows_;
  std::optional<std::uint64_t> spoilt_;
  std::uint64_t users_;
};

// Adds to each value a draw named by (step, partition, chunk): the same for any host.
class ToyNoise final : public privacy::Mechanism {
 public:
  bool perturbs_at_worker() const override { return true; }
  wire::Digest perturb(std::span<float> values, const privacy::NoiseKey& key) const override {
    Stream stream(kSeed + 1, Purpose::test, key.step, key.partition, key.chunk);
    for (float& value : values) value += stream.uniform();
    return {};
  }
};

worker::Partitioning partitioning(const JobOptions& o) {
  return {o.partitions, {0.2, 0}, kSeed, o.users != 0};
}

worker::Sampling sampling_of(const JobOptions& options) {
  if (options.privacy == "correlated") return worker::Sampling::cyclic;
  return options.poisson ? worker::Sampling::poisson : worker::Sampling::shuffle;
}

}  // namespace

std::unique_ptr<privacy::Mechanism> make_mechanism(const JobOptions& options) {
  if (!options.privacy.empty()) {
    privacy::Clip clip{privacy::ClipKind::automatic, 0.5, 0.01};
    if (options.adaptive) clip.kind = privacy::ClipKind::adaptive;
    if (options.users != 0) clip.examples = kExamplesPerUser;
    clip.quantile = 0.7;
    clip.count_share = 0.2;
    if (options.privacy == "correlated") {
      const std::vector<privacy::NoiseBranch> branches = {{0, "a"}, {2, "b"}};
      return std::make_unique<privacy::CorrelatedGaussian>(clip, 4, 0.8, wire::Digest{}, branches);
    }
    using Where = privacy::Gaussian::Where;
    const Where where = options.privacy == "central" ? Where::central : Where::local;
    return std::make_unique<privacy::Gaussian>(where, clip, 0.8, wire::Digest{});
  }
  if (options.noise) return std::make_unique<ToyNoise>();
  const auto document = config::Document::from_text("", "job.toml");
  return find_mode(privacy::mechanisms(), "none")->make(document->root());
}

namespace {

std::unique_ptr<compression::Compressor> make_compressor(bool lossy, const std::string& mode) {
  if (!mode.empty()) {
    const std::size_t end = std::min(mode.find('\n'), mode.size());
    const auto document = config::Document::from_text(mode.substr(end), "job.toml");
    return find_mode(compression::compressors(), mode.substr(0, end))->make(document->root());
  }
  if (lossy) return std::make_unique<server::UpperHalves>();
  return server::no_compressor();
}

}  // namespace

compression::Codecs make_codecs(bool lossy, const std::string& mode, const JobOptions& options) {
  compression::Codecs codecs{make_compressor(lossy, mode), {}, options.exempt_below};
  for (const auto& [match, layer] : options.layers) {
    codecs.layers.push_back({match, make_compressor(false, layer)});
  }
  return codecs;
}

std::unique_ptr<optimization::Optimizer> make_optimizer() {
  const auto document = config::Document::from_text("decay = 0.1\n", "job.toml");
  return find_mode(optimization::optimizers(), "adam")->make(document->root());
}

std::unique_ptr<optimization::Optimizer> make_inner_optimizer() {
  const auto document = config::Document::from_text("decay = 0.1\nmomentum = 0.5\n", "job.toml");
  return find_mode(optimization::optimizers(), "momentum")->make(document->root());
}

worker::OtherShares::Load reader_of(const JobOptions& o, PartitionRange share) {
  return [o, share] {
    Points source(o);
    return std::make_unique<worker::PartitionSet>(source, partitioning(o), share);
  };
}

namespace {

std::uint64_t units(worker::Source& source, const JobOptions& o) {
  const worker::Partitioning how = partitioning(o);
  const worker::Split split(worker::dealt_out(source, how.by_user), how.fractions, how.partitions,
                            how.seed);
  return split.size(worker::Part::train);
}

const params::Layout& layout_with_bound(worker::Model& model, const JobOptions& o) {
  const auto clip = make_mechanism(o)->clip();
  if (clip && clip->adapts()) model.add_bound(*clip);
  return model.layout();
}

params::Layout pushed_layout(const JobOptions& o, const params::Layout& parameters) {
  return compression::pushed_layout(make_codecs(o.lossy_push, o.push, o), parameters, kChunkBytes);
}

}  // namespace

Site::Site(const JobOptions& o, PartitionRange hosted, const worker::SumOverPartitions& sum)
    : source(std::make_unique<Points>(o)),
      data(*source, partitioning(o), hosted),
      plan(units(*source, o), o.batch * std::max(1U, o.local_steps), o.partitions, kSeed,
           sampling_of(o)),
      sampler({}, std::min(o.batch, plan.examples()), plan.examples(),
              o.users != 0 ? kExamplesPerUser : 1),
      normaliser(worker::make_normaliser(worker::Normalisation::standard, data, sum)),
      document(config::Document::from_text(kModel, "job.toml")),
      model(document->root().table("model"), source->schema()),
      layout(pushed_layout(o, layout_with_bound(model, o))),
      chunks(layout, kChunkBytes),
      shards(chunks, o.servers, o.lanes),
      push(compression::by_chunk(make_codecs(o.lossy_push, o.push, o), layout, chunks)),
      pull(compression::by_chunk(make_codecs(o.lossy_pull, o.pull, o), layout, chunks)),
      mechanism(make_mechanism(o)) {
  document->throw_if_faulty();
}

params::Layout job_layout(const JobOptions& o) {
  const auto document = config::Document::from_text(kModel, "job.toml");
  worker::Model model(document->root().table("model"), {kFeatures, 1});
  return pushed_layout(o, layout_with_bound(model, o));
}

}  // namespace sheaf::threads
