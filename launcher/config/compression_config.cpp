// [compression]: what each direction is compressed by, and what that asks of other sections.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/mode.h"
#include "common/compression/estimate_feedback.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

using config::Section;

namespace {

constexpr std::string_view kAuto = "auto";
// What a push has feedback of: what it left out, or what servers have been told.
constexpr std::string_view kError = "ef", kEstimates = "ef21";
// What usual compressors say of chunks of this size holds for all.
constexpr std::size_t kUsualChunk = 1 << 16;

// The compressors there are, and the word for none of them yet.
std::vector<std::string_view> kinds() {
  auto words = mode_names(compression::compressors());
  words.insert(std::ranges::lower_bound(words, kAuto), kAuto);
  return words;
}

std::unique_ptr<compression::Compressor> make_codec(std::string_view kind, const Section& section) {
  const auto* mode = find_mode(compression::compressors(), kind);
  if (mode == nullptr) {
    fail(Fault::config,
         "{}.kind: found \"{}\", expected a compressor by its name: sheaf train chooses one before "
         "it starts the ranks, nobody else does",
         section.path(), kind);
  }
  return mode->make(section);
}

// Whether a tensor, or its beginning, is a matrix of the chunk; null: that has none.
bool in_a_matrix(const compression::FactoredChunk* factored, const params::Chunk& chunk,
                 const params::Tensor& tensor) {
  return factored != nullptr &&
         std::ranges::any_of(factored->matrices, [&](const compression::Matrix& matrix) {
           const std::size_t begin = chunk.offset + matrix.begin;
           return begin <= tensor.offset && tensor.offset < begin + matrix.size;
         });
}

}  // namespace

// One table: of a direction, or one of its candidates.
RunConfig::Codec RunConfig::read_codec(const Section& table, bool pushes) const {
  static constexpr std::array<std::string_view, 3> kPushFeedbacks = {"none", kError, kEstimates};
  static constexpr std::array<std::string_view, 2> kPullFeedbacks = {"none", "ef21p"};
  const std::span<const std::string_view> feedbacks =
      pushes ? std::span<const std::string_view>(kPushFeedbacks) : kPullFeedbacks;
  Codec codec{.section = table, .kind = table.mode("kind", kinds(), "none")};
  if (codec.kind == kAuto) return codec;
  const auto compressor = codec.kind.empty() ? nullptr : make_codec(codec.kind, table);
  codec.exempt_below =
      static_cast<std::size_t>(table.integer("exempt_below", 0, {0, std::int64_t{1} << 30}));
  const std::string word = table.word("feedback", feedbacks, feedbacks[0]);
  const bool asked = word != feedbacks[0];
  if (word == kEstimates) codec.estimates = table.real("momentum", 0.9, {0, config::kBelowOne});
  codec.momentum = compressor != nullptr && compressor->momentum();
  codec.factors = compressor != nullptr && compressor->rank() != 0;
  const bool own_feedback = codec.momentum || codec.factors;
  if (own_feedback && (asked || !pushes) && table.sound("kind")) {
    table.fault("kind", fmt::format("\"{}\"", codec.kind),
                pushes ? "one without feedback of its own, or no other beside it"
                       : "another one: this one is for gradients",
                "\"topk\"");
  }
  codec.feedback = asked || own_feedback;
  for (const Section& layer : table.tables("layers", false)) {
    codec.layers.push_back(read_layer(layer, pushes, codec));
  }
  if (compressor == nullptr) return codec;
  const auto promises = compressor->promises(kUsualChunk);
  if (pushes) {
    check_push(codec, promises);
  } else {
    check_pull(codec, promises);
  }
  return codec;
}

// What goes with all layers is that of the direction. One of none is always right.
RunConfig::LayerCodec RunConfig::read_layer(const Section& table, bool pushes,
                                            const Codec& direction) {
  const auto words = mode_names(compression::compressors());
  LayerCodec layer{table, table.text("match", std::nullopt),
                   table.mode("kind", words, std::nullopt)};
  if (layer.kind.empty()) return layer;
  const auto compressor = make_codec(layer.kind, table);
  if (compressor->identity() || !table.sound("kind")) return layer;
  const auto promises = compressor->promises(kUsualChunk);
  const bool feedback = direction.feedback;
  const auto refuse = [&](const std::string& expected) {
    if (!table.sound("kind")) return;
    table.fault("kind", fmt::format("\"{}\"", layer.kind), expected, "\"none\"");
  };
  if (compressor->momentum()) refuse("a compressor without momentum: that is of all layers alike");
  if (compressor->rank() != 0)
    refuse("a compressor without factors: those are of all layers alike");
  if (pushes && feedback && promises.unbiased) {
    refuse(fmt::format("with feedback = \"{}\" a compressor that needs it, or \"none\"",
                       direction.feedback_word()));
  }
  if ((!pushes || direction.estimates) && feedback && promises.contraction == 0) {
    refuse(fmt::format("with feedback = \"{}\" a compressor that always comes nearer, or \"none\"",
                       pushes ? kEstimates : "ef21p"));
  }
  if (!pushes && !feedback && !promises.every_value) {
    refuse("without feedback a compressor that keeps every value near itself");
  }
  return layer;
}

// Whether each pattern names a tensor; and what each tensor gets, where they differ.
void RunConfig::check_layers(const params::Layout& layout, bool sizes_are_known) {
  for (const auto* codecs : {&pushes_, &pulls_}) {
    for (const Codec& codec : *codecs) {
      std::vector<std::string> patterns;
      for (const LayerCodec& layer : codec.layers) {
        patterns.push_back(layer.match);
        const auto& tensors = layout.tensors();
        if (std::ranges::any_of(tensors, [&](const params::Tensor& tensor) {
              return compression::matches(layer.match, tensor.name);
            })) {
          continue;
        }
        std::string names;
        for (const params::Tensor& tensor : tensors) {
          names += (names.empty() ? "" : ", ") + tensor.name;
        }
        layer.section.fault("match", fmt::format("\"{}\"", layer.match),
                            "the name of a tensor, * for any characters: one of " + names);
      }
      if ((patterns.empty() && !codec.factors) || !sizes_are_known) continue;
      const params::ChunkMap chunks(layout, network_.chunk_bytes);
      const auto factors = compression::factors_in(make_codecs(codec), layout, chunks);
      const auto choices = compression::choices_of(patterns, codec.exempt_below, layout, chunks);
      std::string text;
      for (const params::Tensor& tensor : layout.tensors()) {
        if (tensor.size == 0) continue;
        const auto chunk = static_cast<std::uint32_t>(chunks.holding(tensor.offset));
        const compression::Choice choice = choices[chunk];
        const bool floats = choice == compression::kFloats ||
                            (choice == compression::kUsual && codec.factors &&
                             !in_a_matrix(factors.find(chunk), chunks[chunk], tensor));
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", tensor.name,
                            floats ? std::string("floats")
                            : choice == compression::kUsual
                                ? codec.kind
                                : codec.layers[static_cast<std::size_t>(choice)].kind);
      }
      notes_.push_back(fmt::format("{}: {}", codec.section.path(), text));
    }
  }
}

compression::Codecs RunConfig::make_codecs(const Codec& codec) {
  compression::Codecs codecs{make_codec(codec.kind, codec.section), {}, codec.exempt_below};
  for (const LayerCodec& layer : codec.layers) {
    codecs.layers.push_back({layer.match, make_codec(layer.kind, layer.section)});
  }
  return codecs;
}

void RunConfig::check_push(const Codec& push, const compression::Promises& promises) {
  if (!push.feedback || !push.section.sound("feedback")) return;
  const auto refuse = [&](std::string_view why) {
    push.section.fault("feedback", fmt::format("\"{}\"", push.feedback_word()),
                       fmt::format("\"none\" with this \"{}\": {}", push.kind, why), "\"none\"");
  };
  if (promises.unbiased) {
    refuse("its mean is right by itself, at the price of errors that feedback would pile up");
  } else if (push.estimates && promises.contraction == 0) {
    refuse("differences are sent by a compressor that always comes nearer");
  }
}

void RunConfig::check_pull(const Codec& pull, const compression::Promises& promises) const {
  const Section& table = pull.section;
  if (!table.sound("kind") || !table.sound("feedback")) return;
  if (!pull.feedback && !promises.every_value) {
    table.fault("kind", fmt::format("\"{}\"", pull.kind),
                "a compressor that keeps every value near itself, or feedback = \"ef21p\": "
                "without it parameters are sent whole, and what one version loses no other "
                "brings back",
                "\"bf16\"");
  }
  if (pull.feedback && (promises.contraction == 0 || pull.is_lossless())) {
    table.fault("feedback", "\"ef21p\"",
                fmt::format("\"none\" with this \"{}\": differences are sent by a compressor "
                            "that always comes nearer",
                            pull.kind),
                "\"none\"");
  }
  if (pull.feedback && section("consistency").sound("kind") && !exact()) {
    table.fault("feedback", "\"ef21p\"",
                fmt::format("\"none\" with consistency.kind = \"{}\": differences are between "
                            "versions that all workers read",
                            gate_),
                "\"none\"");
  }
}

std::vector<RunConfig::Codec> RunConfig::read_direction(std::string_view name, bool pushes) const {
  const Section table = section("compression").table(name);
  std::vector<Codec> codecs = {read_codec(table, pushes)};
  if (codecs.front().kind != kAuto) return codecs;
  for (const Section& one : table.tables("candidates", false)) {
    codecs.push_back(read_codec(one, pushes));
    if (codecs.back().kind == kAuto && one.sound("kind")) {
      one.fault("kind", "\"auto\"", "a compressor by its name", "\"none\"");
    }
  }
  return codecs;
}

void RunConfig::read_compression() {
  pushes_ = read_direction("push", true);
  pulls_ = read_direction("pull", false);
}

std::vector<std::string> RunConfig::tables_of(std::span<const Codec> codecs) {
  std::vector<std::string> tables;
  for (const Codec& codec : codecs) tables.push_back(codec.section.toml());
  return tables;
}

bool RunConfig::chooses_push() const { return push_kind() == kAuto; }
bool RunConfig::chooses_pull() const { return pull_kind() == kAuto; }

std::span<const RunConfig::Codec> RunConfig::possible_pushes() const {
  const std::span all(pushes_);
  return chooses_push() ? all.subspan(1) : all;
}
std::span<const RunConfig::Codec> RunConfig::possible_pulls() const {
  const std::span all(pulls_);
  return chooses_pull() ? all.subspan(1) : all;
}

// Where the job file names none: what costs no model anything that matters, and leaves what else
// the job asks for as it is.
std::vector<std::string> RunConfig::push_candidates() const {
  if (!possible_pushes().empty()) return tables_of(possible_pushes());
  std::vector<std::string> tables = {"{ kind = \"none\" }"};
  if (privacy_.kind.empty()) return tables;
  const auto mechanism = make_mechanism();
  if (skips_at_servers() || mechanism->perturbs_at_server()) return tables;
  const bool keeps = !stand_in_after_ && !mechanism->perturbs_at_worker();
  tables.emplace_back(keeps ? "{ kind = \"int8\", feedback = \"ef\" }" : "{ kind = \"int8\" }");
  return tables;
}

std::vector<std::string> RunConfig::pull_candidates() const {
  if (!possible_pulls().empty()) return tables_of(possible_pulls());
  const bool differences = exact() && !stand_in_after_;
  return {"{ kind = \"none\" }",
          differences ? "{ kind = \"int8\", feedback = \"ef21p\" }" : "{ kind = \"int8\" }"};
}

bool RunConfig::Codec::is_lossless() const {
  const auto none = [](const std::string& word) { return word.empty() || word == "none"; };
  return none(kind) && std::ranges::all_of(layers, none, &LayerCodec::kind);
}

bool RunConfig::skips_at_servers() const {
  return synchronous_ && optimizer_.non_finite == optimization::NonFinite::skip;
}

// Momentum is taken where gradients are, once, before they are sent.
void RunConfig::check_momentum(const Codec& push) const {
  const Section optimizer = section("optimizer"), consistency = section("consistency");
  if (optimizer_.kind != "sgd" && optimizer.sound("kind")) {
    optimizer.fault("kind", fmt::format("\"{}\"", optimizer_.kind),
                    fmt::format("\"sgd\" with {}.kind = \"{}\", which takes momentum itself",
                                push.section.path(), push.kind),
                    "\"sgd\"");
  }
  if (local_steps_ != 0 && consistency.sound("kind")) {
    consistency.fault("kind", "\"local\"",
                      fmt::format("another model with {}.kind = \"{}\": momentum is of gradients, "
                                  "and partitions push how far they came",
                                  push.section.path(), push.kind),
                      "\"bsp\"");
  }
}

// A step has a round before the one that makes it, of what partitions know of their gradients.
void RunConfig::check_factors(const Codec& push) const {
  const auto refuse = [&](const char* where, const char* key, const std::string& found,
                          const char* expected, const char* attempt) {
    const Section table = section(where);
    if (!table.sound(key)) return;
    table.fault(key, found,
                fmt::format("{} with {}.kind = \"{}\"", expected, push.section.path(), push.kind),
                attempt);
  };
  if (gate_ != "bsp") {
    refuse("consistency", "kind", fmt::format("\"{}\"", gate_),
           "\"bsp\", in which all partitions take the rounds of one step together,", "\"bsp\"");
  }
  if (optimizer_.clip_norm) {
    refuse("optimizer", "clip_norm", fmt::format("{}", *optimizer_.clip_norm),
           "none, as the first round comes before the gradient is known,", "leaving it out");
  }
  if (optimizer_.non_finite != optimization::NonFinite::abort) {
    refuse("optimizer", "non_finite", "another word",
           "\"abort\", as what is not finite shows in the first round already,", "\"abort\"");
  }
  if (privacy_.on) {
    refuse("privacy", "kind", fmt::format("\"{}\"", privacy_.kind),
           "\"none\", as sums of the first round would leave without noise,", "\"none\"");
  }
}

// Servers and workers have to have the same estimates, to the bit and for good.
void RunConfig::check_estimates(const Codec& push) const {
  const Section optimizer = section("optimizer"), consistency = section("consistency");
  const std::string with =
      fmt::format("with {}.feedback = \"{}\"", push.section.path(), kEstimates);
  if (!exact() && consistency.sound("kind")) {
    consistency.fault("kind", fmt::format("\"{}\"", gate_),
                      fmt::format("\"bsp\" {}: servers add what is new in each gradient, so what "
                                  "is left out, or lost with a worker, would be missing for good",
                                  with),
                      "\"bsp\"");
  }
  if (local_steps_ != 0 && consistency.sound("kind")) {
    consistency.fault("kind", "\"local\"",
                      fmt::format("\"bsp\" {}: what servers have of a partition is used again in "
                                  "each step, and would go the way of a whole round again",
                                  with),
                      "\"bsp\"");
  }
  if (optimizer_.clip_norm && optimizer.sound("clip_norm")) {
    optimizer.fault(
        "clip_norm", fmt::format("{}", *optimizer_.clip_norm),
        fmt::format("no such norm {}: it would be that of what is new in a gradient", with),
        "without it");
  }
}

void RunConfig::check_compression() {
  const Section optimizer = section("optimizer");
  for (const Codec& push : possible_pushes()) {
    if (push.is_lossless()) continue;
    if (push.momentum) check_momentum(push);
    if (push.estimates) check_estimates(push);
    if (push.factors) {
      check_factors(push);
      continue;
    }
    if (!skips_at_servers() || !optimizer.sound("non_finite")) continue;
    optimizer.fault("non_finite", "\"skip\"",
                    fmt::format("\"abort\" or \"reject\" with {}.kind = \"{}\": what is not finite "
                                "has no encoding, so no server would see it",
                                push.section.path(), push.kind),
                    "\"reject\"");
  }
  if (network_.transport == "shm" && compresses_pulls()) {
    notes_.emplace_back(
        "network.transport: compressed pulls go over the network, also within a host: what is "
        "decoded is not what lies in the server's memory");
  }
  const auto say_choice = [&](const char* direction, const std::vector<std::string>& tables) {
    notes_.push_back(fmt::format(
        "compression.{}.kind: sheaf train measures before it starts the ranks, and takes one of {}",
        direction, fmt::join(tables, ", ")));
  };
  if (chooses_push()) say_choice("push", push_candidates());
  if (chooses_pull()) say_choice("pull", pull_candidates());
}

bool RunConfig::compresses_pulls() const {
  return !std::ranges::all_of(possible_pulls(), &Codec::is_lossless);
}

std::uint32_t RunConfig::Codec::residual_runs() const {
  if (estimates) return compression::EstimateFeedback::runs(*estimates);
  return momentum ? 2 : feedback ? 1 : 0;
}
std::string RunConfig::Codec::feedback_word() const {
  return std::string(estimates ? kEstimates : feedback ? kError : "none");
}

std::uint32_t RunConfig::residual_runs() const {
  std::uint32_t most = 0;
  for (const Codec& push : possible_pushes()) most = std::max(most, push.residual_runs());
  return most;
}
bool RunConfig::pushes_factors() const {
  return std::ranges::any_of(possible_pushes(), &Codec::factors);
}
std::optional<double> RunConfig::estimates() const {
  for (const Codec& push : possible_pushes()) {
    if (push.estimates) return push.estimates;
  }
  return std::nullopt;
}
bool RunConfig::pull_feedback() const {
  return std::ranges::any_of(possible_pulls(), &Codec::feedback);
}

compression::Codecs RunConfig::make_push_codecs() const { return make_codecs(pushes_.front()); }
compression::Codecs RunConfig::make_pull_codecs() const { return make_codecs(pulls_.front()); }

}  // namespace sheaf::launcher
