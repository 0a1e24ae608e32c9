#include "launcher/config/run_config.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <source_location>
#include <span>
#include <tuple>

#include "common/base/mode.h"
#include "common/config/toml_text.h"
#include "common/optimization/from_differences.h"
#include "common/wire/handshake.h"
#include "launcher/system/readable.h"
#include "worker/data/transforms/transformed_source.h"

namespace sheaf::launcher {
namespace {

using config::Bounds;
using config::Section;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

// More of any of these is a typing error on every machine that we know.
constexpr std::int64_t kMostProcesses = 4096;
// A step on fewer examples per partition is mostly overhead.
constexpr std::uint64_t kSmallBatch = 16;

template <typename Family>
std::string read_kind(const Section& section, ModeTable<Family> table,
                      std::optional<std::string_view> otherwise = std::nullopt) {
  return section.mode("kind", mode_names(table), otherwise);
}

// Builds the mode called `kind`, which has been checked.
template <typename Family, typename... Args>
std::unique_ptr<Family> make(ModeTable<Family> table, std::string_view kind, const Section& section,
                             Args&&... args) {
  const Mode<Family>* mode = find_mode(table, kind);
  check(mode != nullptr, "a mode is built from a config that passed its check");
  return mode->make(section, std::forward<Args>(args)...);
}

// Builds a mode for the sake of the keys that it reads, and of their faults.
template <typename Family>
void try_mode(ModeTable<Family> table, std::string_view kind, const Section& section) {
  if (!kind.empty()) make(table, kind, section);
}

std::uint32_t count(const Section& section, std::string_view key,
                    std::optional<std::int64_t> otherwise, Bounds<std::int64_t> bounds) {
  return static_cast<std::uint32_t>(section.integer(key, otherwise, bounds));
}

// A list of whole numbers, each within the bounds.
std::vector<std::uint32_t> counts(const Section& section, std::string_view key,
                                  std::optional<std::vector<double>> otherwise,
                                  Bounds<double> bounds) {
  std::vector<std::uint32_t> values;
  for (const double value : section.reals(key, std::move(otherwise))) {
    if (value != std::floor(value) || value < bounds.low || value > bounds.high) {
      section.fault(key, fmt::format("{}", value),
                    fmt::format("integers from {} to {}", bounds.low, bounds.high));
      continue;
    }
    values.push_back(static_cast<std::uint32_t>(value));
  }
  return values;
}

// "0", "20000" or "20000-20100".
std::optional<std::pair<std::uint16_t, std::uint16_t>> parse_ports(std::string_view text) {
  const auto port = [](std::string_view digits) -> std::optional<std::uint16_t> {
    std::uint16_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc{} || rest != end) return std::nullopt;
    return value;
  };
  if (text == "0") return std::pair<std::uint16_t, std::uint16_t>{0, 0};
  const std::size_t dash = text.find('-');
  const auto low = port(text.substr(0, dash));
  const auto high = dash == std::string_view::npos ? low : port(text.substr(dash + 1));
  if (!low || !high || *low == 0 || *low > *high) return std::nullopt;
  return std::pair{*low, *high};
}

bool is_job_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

// "runs/quickstart-20261122-034012", in UTC.
std::string default_dir(std::string_view name, RunConfig::Time now) {
  return fmt::format("runs/{}-{:%Y%m%d-%H%M%S}", name,
                     fmt::gmtime(std::chrono::system_clock::to_time_t(now)));
}

}  // namespace

RunConfig RunConfig::load(const std::filesystem::path& file, std::span<const std::string> overrides,
                          Time now, Servers servers) {
  return RunConfig(std::make_unique<config::Document>(file, overrides), now, servers);
}

RunConfig RunConfig::from_text(std::string_view text, std::string_view name,
                               std::span<const std::string> overrides, Time now) {
  return RunConfig(config::Document::from_text(text, name, overrides), now, Servers::required);
}

RunConfig::RunConfig(std::unique_ptr<config::Document> document, Time now, Servers servers)
    : document_(std::move(document)) {
  read_run(now, servers);
  read_data();
  section("model");  // here, so that it stands here in the resolved file
  read_optimizer();
  read_modes();
  read_network();
  read_recovery();
  read_timeouts();
  read_launch();
  read_scaling();
  cross_check();
}

void RunConfig::read_run(Time now, Servers servers) {
  const Section run = section("run");
  run_.name = run.text("name", std::nullopt);
  if (run.sound("name") && !is_job_name(run_.name)) {
    run.fault("name", fmt::format("\"{}\"", run_.name),
              "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first");
  }
  run_.workers = count(run, "workers", std::nullopt, {1, kMostProcesses});
  const std::int64_t fewest_servers = servers == Servers::required ? 1 : 0;
  run_.servers = count(run, "servers", std::nullopt, {fewest_servers, kMostProcesses});
  run_.partitions = count(run, "partitions", run_.workers, {1, kMostProcesses});
  run_.epochs = count(run, "epochs", 1, {1, 1'000'000});
  if (run.has("steps")) {
    run_.steps = static_cast<Step>(run.integer("steps", std::nullopt, {1}));
  }
  run_.seed = static_cast<std::uint64_t>(run.integer("seed", 0, {0}));
  run_.dir_is_given = run.has("dir");
  run_.dir = run.text("dir", default_dir(run_.name, now));
  run_.deterministic = run.boolean("deterministic", false);
  run_.blas_threads = count(run, "blas_threads", 1, {1, 1024});
}

void RunConfig::read_data() {
  const Section data = section("data");
  data_.kind = read_kind(data, worker::sources());
  data_.batch = static_cast<std::uint64_t>(data.integer("batch", std::nullopt, {1, 1 << 30}));
  data_.validation = data.real("validation", 0, {0, config::kBelowOne});
  data_.test = data.real("test", 0, {0, config::kBelowOne});
  const auto& samplings = worker::kSamplings;
  data_.sampling = static_cast<worker::Sampling>(
      std::ranges::find(samplings, data.word("sampling", samplings, samplings[0])) -
      samplings.begin());
  bool source_is_sound = data.sound("kind");
  if (!data_.kind.empty()) {
    const std::size_t faults = document_->faults().size();
    source_ = make(worker::sources(), data_.kind, data, run_.seed);
    source_is_sound = source_is_sound && document_->faults().size() == faults;
  }
  data_.transform = read_kind(data.table("transform"), worker::transforms(), "none");
  const bool as_given = data_.transform.empty() || make_transform(0) == nullptr;
  const auto usual =
      source_ && as_given ? source_->default_normalisation() : worker::Normalisation::none;
  const auto& words = worker::kNormalisations;
  data_.normalise = worker::parse_normalisation(
                        data.word("normalise", words, words[static_cast<std::size_t>(usual)]))
                        .value();
  data_.prefetch = count(data, "prefetch", 2, {1, 1024});
  if (!source_is_sound) source_.reset();
  if (source_) data_.users = source_->users_by();
}

void RunConfig::read_optimizer() {
  const Section optimizer = section("optimizer");
  optimizer_.kind = read_kind(optimizer, optimization::optimizers());
  optimization::Schedule{optimizer};
  if (optimizer.has("clip_norm")) {
    optimizer_.clip_norm = optimizer.real("clip_norm", std::nullopt, {config::kAboveZero});
  }
  const auto& words = optimization::kNonFiniteWords;
  const auto chosen = std::ranges::find(words, optimizer.word("non_finite", words, words[0]));
  optimizer_.non_finite = static_cast<optimization::NonFinite>(chosen - words.begin());
  try_mode(optimization::optimizers(), optimizer_.kind, optimizer);
}

void RunConfig::read_modes() {
  const Section gate = section("consistency");
  gate_ = read_kind(gate, server::gates(), "bsp");
  if (!gate_.empty()) {
    synchronous_ = make_gate()->synchronous();
    local_steps_ = make_gate()->local_steps();
    backup_ = make_gate()->backup();
    stand_in_after_ = make_gate()->stand_in_after();
  }
  if (local_steps_ != 0) {
    const Section inner = gate.table("inner");
    inner_ = read_kind(inner, optimization::optimizers());
    optimization::Schedule{inner};
    try_mode(optimization::optimizers(), inner_, inner);
  }
  traces_ = gate.boolean("trace", false);
  read_compression();
  const Section mechanism = section("privacy");
  privacy_.kind = read_kind(mechanism, privacy::mechanisms(), "none");
  try_mode(privacy::mechanisms(), privacy_.kind, mechanism);
  read_privacy();
}

void RunConfig::read_network() {
  static constexpr std::array<std::string_view, 3> kTransports = {"auto", "tcp", "shm"};
  static constexpr std::array<std::string_view, 3> kEncryptions = {"auto", "none", "tls"};
  const Section network = section("network");
  network_.interface = network.text("interface", "auto");
  const std::string ports = network.text("ports", "0");
  if (const auto range = parse_ports(ports)) {
    std::tie(network_.port_low, network_.port_high) = *range;
  } else {
    network.fault("ports", fmt::format("\"{}\"", ports),
                  "\"0\" for any free port, or a range of ports from 1 to 65535",
                  "\"20000-20100\"");
  }
  network_.transport = network.word("transport", kTransports, "auto");
  network_.encryption = network.word("encryption", kEncryptions, "auto");
  network_.lanes = count(network, "lanes", 1, {1, 64});
  network_.chunk_bytes = std::size_t{1024} * count(network, "chunk_kib", 0, {0, 1024});
  network_.window = count(network, "window", 8, {1, 1024});
}

void RunConfig::read_recovery() {
  static constexpr std::array<std::string_view, 3> kSnapshots = {"auto", "none", "shm"};
  const Section checkpoint = section("checkpoint");
  checkpoint_.every = checkpoint.duration("every", 30s, {10});
  checkpoint_.keep = count(checkpoint, "keep", 2, {1, 1000});
  const Section recovery = section("recovery");
  recovery_.restarts = count(recovery, "restarts", 3, {0, 1000});
  recovery_.snapshot = recovery.word("snapshot", kSnapshots, "auto");
  recovery_.replicas = static_cast<std::uint32_t>(recovery.integer("replicas", 1, {1, 2}));
  recovery_.host_losses = count(recovery, "host_losses", 3, {1, 1000});
  recovery_.set_aside = recovery.duration("set_aside", 10min, {10});
}

// What a server knows besides its chunks is lost with it.
std::optional<std::string> RunConfig::return_obstacle() const {
  if (recovery_.restarts == 0) return "recovery.restarts is 0";
  if (backup_ != 0) return "with consistency.kind = \"drop\" servers agree on each step";
  return std::nullopt;
}

std::optional<std::string> RunConfig::snapshot_obstacle() const {
  if (privacy_.on) return "who adopts a shard cannot say what of a private step was released";
  return return_obstacle();
}

std::optional<std::string> RunConfig::replicas_obstacle() const {
  if (run_.servers < 2) return "run.servers is 1 and a replica needs a second one";
  if (const auto obstacle = return_obstacle()) return obstacle;
  if (stand_in_after_) {
    return "with consistency.kind = \"speculate\" others have pushed for a late worker, which "
           "would "
           "not push again";
  }
  return std::nullopt;
}

void RunConfig::read_timeouts() {
  const Section timeouts = section("timeouts");
  constexpr Bounds<std::int64_t> kAny = {10, milliseconds(24h).count()};
  timeouts_.beat = timeouts.duration("beat", 1s, kAny);
  timeouts_.dead = timeouts.duration("dead", 10s, kAny);
  timeouts_.suspect = timeouts.duration("suspect", timeouts_.dead / 2, kAny);
  timeouts_.start = timeouts.duration("start", 60s, kAny);
  timeouts_.orphan_grace = timeouts.duration("orphan_grace", 30s, {0, milliseconds(24h).count()});
}

void RunConfig::read_launch() {
  const Section launch = section("launch");
  launch_.hostfile = launch.text("hostfile", "");
  launch_.mpirun_args = launch.texts("mpirun_args", std::vector<std::string>{});
  steps_per_row_ = count(section("metrics"), "every", 20, {1, 20});
}

void RunConfig::read_scaling() {
  static constexpr std::array<std::string_view, 3> kKinds = {"strong", "weak", "both"};
  const Section scaling = section("scaling");
  scaling_.workers = counts(scaling, "workers", std::vector<double>{}, {1, kMostProcesses});
  scaling_.servers = counts(scaling, "servers", std::vector<double>{1}, {0, kMostProcesses});
  const std::string kind = scaling.word("kind", kKinds, "strong");
  scaling_.strong = kind != "weak";
  scaling_.weak = kind != "strong";
  scaling_.steps = static_cast<Step>(scaling.integer("steps", 100, {2}));
  scaling_.rates = scaling.texts("rates", std::vector<std::string>{});
  scaling_.rate_command = scaling.text("rate_command", "");
  const bool names_rate = scaling_.rate_command.find("{rate}") != std::string::npos;
  if (!scaling_.rates.empty() && scaling.sound("rate_command") && !names_rate) {
    scaling.fault("rate_command", config::toml_text(scaling_.rate_command),
                  "a command that sets the rate of all links, with {rate} in it");
  }
}

void RunConfig::cross_check() {
  const Section run = section("run"), data = section("data"), timeouts = section("timeouts");
  const bool partitions_are_sound = run.sound("partitions") && run.sound("workers");
  if (partitions_are_sound && run_.partitions < run_.workers) {
    run.fault("partitions", fmt::format("{}", run_.partitions),
              "an integer of at least run.workers", fmt::format("{}", run_.workers));
  } else if (partitions_are_sound && data.sound("batch")) {
    if (data_.batch < run_.partitions) {
      data.fault("batch", fmt::format("{}", data_.batch), "an integer of at least run.partitions",
                 fmt::format("{}", run_.partitions));
    } else if (data_.batch / run_.partitions < kSmallBatch && run_.partitions > 1) {
      notes_.push_back(fmt::format(
          "data.batch: {} {} over {} partitions leave {} for each: such small products cost "
          "speed, `sheaf bench step` shows how much",
          data_.batch, privacy_.by_user ? "users" : "examples", run_.partitions,
          data_.batch / run_.partitions));
    }
  }
  if (data.sound("validation") && data.sound("test") && data_.validation + data_.test >= 1) {
    data.fault("validation", fmt::format("{} and data.test = {}", data_.validation, data_.test),
               "a sum below 1, so that something is left to train on");
  }
  const Section gate = section("consistency");
  if (!exact() && gate.sound("kind")) check_inexact();
  if (partitions_are_sound && gate.sound("backup") && backup_ >= run_.partitions) {
    gate.fault("backup", fmt::format("{}", backup_),
               fmt::format("an integer below run.partitions ({})", run_.partitions),
               run_.partitions > 1 ? "1" : "consistency.kind = \"bsp\"");
  }
  if (local_steps_ != 0 && data_.sampling == worker::Sampling::poisson && data.sound("sampling")) {
    data.fault(
        "sampling", "\"poisson\"",
        "\"shuffle\" with consistency.kind = \"local\": a round is cut into steps of equal size",
        "\"shuffle\"");
  }
  if (stand_in_after_ && error_feedback() && gate.sound("kind")) {
    gate.fault("kind", fmt::format("\"{}\"", gate_),
               "\"bsp\" with compression.push.feedback: what a push has left out is "
               "known to its own worker alone, so nobody could compute the next one for it",
               "\"bsp\"");
  }
  if (stand_in_after_ && pull_feedback() && gate.sound("kind")) {
    gate.fault(
        "kind", fmt::format("\"{}\"", gate_),
        "\"bsp\" with compression.pull.feedback: pulls are differences to the version before, "
        "which whoever was late does not have",
        "\"bsp\"");
  }
  const bool is_private = (!privacy_.kind.empty() && privacy_.kind != "none") ||
                          data_.sampling == worker::Sampling::poisson;
  if (stand_in_after_ && is_private && gate.sound("kind")) {
    gate.fault(
        "kind", fmt::format("\"{}\"", gate_),
        "\"bsp\" with privacy or data.sampling = \"poisson\": samples and noise are their own "
        "worker's",
        "\"bsp\"");
  }
  if (stand_in_after_ && run_.workers == 1 && run.sound("workers")) {
    notes_.emplace_back(
        "consistency.kind: a job of one worker has nobody who could compute for a late one");
  }
  check_compression();
  check_users();
  if (privacy_.on) check_privacy();
  const auto ascending = [&](std::string_view low, milliseconds low_value, std::string_view high,
                             milliseconds high_value) {
    if (!timeouts.sound(low) || !timeouts.sound(high) || low_value < high_value) return;
    timeouts.fault(
        low, config::toml_text(low_value),
        fmt::format("a duration below timeouts.{} ({})", high, config::toml_text(high_value)));
  };
  ascending("suspect", timeouts_.suspect, "dead", timeouts_.dead);
  ascending("beat", timeouts_.beat, "suspect", timeouts_.suspect);
  const auto without_effect = [&](const char* key, const std::optional<std::string>& obstacle) {
    if (!obstacle) return;
    notes_.push_back(
        fmt::format("recovery.{} is without effect, since {}: a job that loses a server goes on "
                    "from its newest checkpoint",
                    key, *obstacle));
  };
  if (recovery_.snapshot == "shm") without_effect("snapshot", snapshot_obstacle());
  if (recovery_.replicas == 2) without_effect("replicas", replicas_obstacle());
}

std::optional<worker::Schema> RunConfig::check_data(std::vector<std::string>& faults) {
  const Section data = section("data");
  if (!source_) return std::nullopt;
  try {
    const worker::Schema given = source_->schema();
    const auto transform = data_.transform.empty() ? nullptr : make_transform(given.features);
    if (!data.sound("transform")) return std::nullopt;
    const worker::Schema schema = worker::transformed_schema(given, transform.get());
    if (source_->rows(worker::SourcePart::train) == 0) {
      faults.push_back(fmt::format("data: the {} source has no examples to train on", data_.kind));
    }
    if (data_.test > 0 && source_->rows(worker::SourcePart::test) > 0) {
      data.fault("test", fmt::format("{}", data_.test),
                 "no such fraction: the data has a test set of its own");
    }
    if (transform) {
      const std::uint64_t example = sizeof(float) * schema.features;
      const std::uint64_t examples =
          source_->rows(worker::SourcePart::train) + source_->rows(worker::SourcePart::test);
      notes_.push_back(fmt::format(
          "data.transform: {} features of an example become {}, kept as floats: {} of memory for "
          "the examples of each worker",
          given.features, schema.features, readable_bytes(examples * example / run_.workers)));
    }
    if (data_.sampling == worker::Sampling::poisson) check_sample();
    if (worker::normalisation_problem(data_.normalise, schema)) {
      data.fault("normalise", "\"unit\" for inputs that are real numbers, not bytes",
                 "\"none\" or \"standard\"", "\"standard\"");
    }
    if (privacy_.on && document_->faults().empty()) check_private_data(schema);
    return schema;
  } catch (const Error& error) {
    if (error.fault() != Fault::data) throw;
    faults.push_back(error.message());
    return std::nullopt;
  }
}

CheckResult RunConfig::check() {
  CheckResult result;
  std::vector<std::string> data_faults;
  const auto schema = check_data(data_faults);
  // Without data a model still has keys that may be wrong; an empty schema fits any of them.
  const worker::Model model(section("model"), schema.value_or(worker::Schema{}));
  if (document_->faults().empty()) check_layers(model.layout(), schema.has_value());
  document_->reject_unknown();
  if (schema && local_steps_ != 0 && step_examples() > source_->rows(worker::SourcePart::train)) {
    notes_.push_back(fmt::format(
        "consistency.steps: {} steps of {} examples are more than the {} of an epoch: each round "
        "ends with its epoch, after fewer steps",
        local_steps_, data_.batch, source_->rows(worker::SourcePart::train)));
  }
  result.faults = document_->faults();
  result.kind = result.faults.empty() && !data_faults.empty() ? Fault::data : Fault::config;
  result.faults.insert(result.faults.end(), data_faults.begin(), data_faults.end());
  result.notes = notes_;
  return result;
}

std::vector<std::string> RunConfig::require_sound() {
  const CheckResult result = check();
  if (!result.ok()) {
    throw config::Faults(result.kind, fmt::format("{}", fmt::join(result.faults, "\n")),
                         std::source_location::current());
  }
  return result.notes;
}

std::unique_ptr<worker::Transform> RunConfig::make_transform(std::size_t features) const {
  return make(worker::transforms(), data_.transform, section("data").table("transform"), features);
}

std::unique_ptr<worker::Source> RunConfig::make_source() const {
  auto source = make(worker::sources(), data_.kind, section("data"), run_.seed);
  if (data_.transform == "none") return source;
  const std::size_t features = source->schema().features;
  return worker::transformed(std::move(source), make_transform(features));
}

std::unique_ptr<worker::Model> RunConfig::make_model(const worker::Schema& schema) const {
  auto model = std::make_unique<worker::Model>(section("model"), schema);
  const auto clip = make_mechanism()->clip();
  if (clip && clip->adapts()) model->add_bound(*clip);
  return model;
}

std::unique_ptr<optimization::Optimizer> RunConfig::make_optimizer() const {
  return make(optimization::optimizers(), optimizer_.kind, section("optimizer"));
}

std::unique_ptr<optimization::Optimizer> RunConfig::make_server_optimizer() const {
  if (!estimates()) return make_optimizer();
  return optimization::from_differences(make_optimizer(), data_.batch);
}

optimization::Schedule RunConfig::make_schedule() const {
  return optimization::Schedule(section("optimizer"));
}

std::unique_ptr<optimization::Optimizer> RunConfig::make_inner_optimizer() const {
  return make(optimization::optimizers(), inner_, section("consistency").table("inner"));
}

optimization::Schedule RunConfig::make_inner_schedule() const {
  return optimization::Schedule(section("consistency").table("inner"));
}

std::unique_ptr<server::Gate> RunConfig::make_gate() const {
  return make(server::gates(), gate_, section("consistency"));
}

std::unique_ptr<privacy::Mechanism> RunConfig::make_mechanism() const {
  return make(privacy::mechanisms(), privacy_.kind, section("privacy"));
}

std::string RunConfig::config_sha256() const {
  static constexpr std::array<std::string_view, 2> kWithout = {"run.dir", "launch"};
  const std::string text = document_->resolved(kWithout);
  std::string hex;
  for (const auto byte : wire::sha256(std::as_bytes(std::span(text)))) {
    hex += fmt::format("{:02x}", byte);
  }
  return hex;
}

}  // namespace sheaf::launcher
