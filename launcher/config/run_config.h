// The whole job file, seen by the launcher alone: it reads every section, checks them against each
// other, and hands each side its own part. Owns the document behind all sections. Not thread-safe.
//
// Two passes. The constructor reads what needs no data. check() then builds every mode once, and
// the model against the schema of the data, so that all faults of a job are known before any
// process starts; what the factories build, resolved() and config_sha256() are for a config that it
// passed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/compression/by_chunk.h"
#include "common/config/section.h"
#include "common/optimization/non_finite.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "common/privacy/ledger/terms.h"
#include "common/privacy/mechanism.h"
#include "server/consistency/gate.h"
#include "worker/data/batch_plan.h"
#include "worker/data/normaliser.h"
#include "worker/data/source.h"
#include "worker/data/transforms/transform.h"
#include "worker/models/model.h"

namespace sheaf::launcher {

struct RunSection {
  std::string name;
  std::uint32_t workers = 1;
  std::uint32_t servers = 1;
  std::uint32_t partitions = 1;
  std::uint64_t epochs = 1;
  std::optional<Step> steps;  // the most steps, whatever the epochs say
  std::uint64_t seed = 0;
  std::filesystem::path dir;
  bool dir_is_given = false;  // else it is named after the time
  bool deterministic = false;
  std::uint32_t blas_threads = 1;
};

struct DataSection {
  std::string kind;
  std::uint64_t batch = 1;  // examples of a step, over all partitions
  double validation = 0;    // fractions of what the source offers for training
  double test = 0;
  worker::Sampling sampling = worker::Sampling::shuffle;
  worker::Normalisation normalise = worker::Normalisation::none;
  std::size_t prefetch = 1;  // batches
  std::string transform;     // "none": inputs stay as the source gives them
  std::string users;         // by what users are named; empty: not at all
};

struct OptimizerSection {
  std::string kind;
  std::optional<double> clip_norm;  // of the gradient's mean over the step's examples
  optimization::NonFinite non_finite = optimization::NonFinite::abort;
};

struct NetworkSection {
  std::string interface;       // "auto", a name, or an address
  std::uint16_t port_low = 0;  // 0 = any free port
  std::uint16_t port_high = 0;
  std::string transport;
  std::string encryption;
  std::uint32_t lanes = 1;
  std::size_t chunk_bytes = 0;  // 0 = automatic
  std::uint32_t window = 1;     // chunks in flight per partition
};

struct CheckpointSection {
  std::chrono::milliseconds every{};
  std::uint32_t keep = 1;
};

struct RecoverySection {
  std::uint32_t restarts = 0;  // in a row without a new checkpoint
  std::string snapshot;        // as asked for
  std::uint32_t replicas = 1;  // the same
  // A host that loses so many processes within the time gets no replacements for as long.
  std::uint32_t host_losses = 0;
  std::chrono::milliseconds set_aside{};
};

struct TimeoutsSection {
  std::chrono::milliseconds beat{};
  std::chrono::milliseconds suspect{};
  std::chrono::milliseconds dead{};
  std::chrono::milliseconds start{};
  std::chrono::milliseconds orphan_grace{};  // for another supervisor; 0: none is waited for
};

struct PrivacySection {
  std::string kind;
  bool on = false;              // noise is added
  std::optional<double> noise;  // in units of the clipping norm
  std::optional<double>
      epsilon;  // never passed; without `noise` there is as much as all steps need
  double delta = 0;
  privacy::Adjacency adjacency = privacy::Adjacency::add_remove;
  bool by_user = false;                 // the unit is a user, not an example
  std::filesystem::path secret_folder;  // empty: that of the user's state
};

struct LaunchSection {
  std::filesystem::path hostfile;  // empty: this host
  std::vector<std::string> mpirun_args;
};

// The sweep of `sheaf bench scaling`; nothing else reads it.
struct ScalingSection {
  std::vector<std::uint32_t> workers;  // empty: no sweep
  std::vector<std::uint32_t> servers;  // 0: as many as workers
  bool strong = true;                  // data.batch for all workers together
  bool weak = false;                   // data.batch for each worker
  Step steps = 0;                      // of each job
  std::vector<std::string> rates;      // of the links; empty: as they are
  std::string rate_command;            // sets a rate, which it has as {rate}
};

// What check() found.
struct CheckResult {
  std::vector<std::string> faults;  // one a line: those of the config, then those of the data
  std::vector<std::string> notes;   // what is allowed but worth saying, one a line
  Fault kind = Fault::config;       // of `faults`: data only if the config has none
  bool ok() const { return faults.empty(); }
};

class RunConfig {
 public:
  using Time = std::chrono::system_clock::time_point;
  // Whether run.servers may be 0: a job has at least one, a benchmark may go without.
  enum class Servers { required, optional };

  // Throws Fault::config if the file cannot be read; all other faults wait for check(). `now` names
  // the run directory if the file does not.
  static RunConfig load(const std::filesystem::path& file, std::span<const std::string> overrides,
                        Time now = std::chrono::system_clock::now(),
                        Servers servers = Servers::required);
  // The same for text in memory; `name` stands for the file in messages.
  static RunConfig from_text(std::string_view text, std::string_view name,
                             std::span<const std::string> overrides = {},
                             Time now = std::chrono::system_clock::now());

  // Finds every fault. Opens the data as far as its schema and row counts need.
  CheckResult check();
  // check(), or throws its faults, one a line; returns the notes.
  std::vector<std::string> require_sound();

  const RunSection& run() const { return run_; }
  const DataSection& data() const { return data_; }
  const OptimizerSection& optimizer() const { return optimizer_; }
  const NetworkSection& network() const { return network_; }
  const CheckpointSection& checkpoint() const { return checkpoint_; }
  const RecoverySection& recovery() const { return recovery_; }
  const TimeoutsSection& timeouts() const { return timeouts_; }
  const PrivacySection& privacy() const { return privacy_; }
  // Ranks that are started by hand have no sheaf train that would replace one that is lost.
  void expect_no_replacements() { recovery_.restarts = 0; }

  // What the steps of a private job are accounted as, its noise found if the file has none; without
  // the ids of secrets. Opens the data as far as its row counts need. REQUIRES: privacy().on.
  // Throws Fault::config if that makes no sense.
  privacy::LedgerTerms privacy_terms() const;
  const LaunchSection& launch() const { return launch_; }
  const ScalingSection& scaling() const { return scaling_; }
  Step steps_per_row() const { return steps_per_row_; }  // of metrics.jsonl

  // Whether that direction is compressed by what pays (kind = "auto"), which is still to be found;
  // and what it may be: tables for an override of compression.push or compression.pull.
  bool chooses_push() const;
  bool chooses_pull() const;
  std::vector<std::string> push_candidates() const;
  std::vector<std::string> pull_candidates() const;

  // Each call builds a new object from its own section. REQUIRES: check() was ok.
  std::unique_ptr<worker::Source> make_source() const;  // transformed; opens files
  std::unique_ptr<worker::Model> make_model(const worker::Schema& schema) const;
  std::unique_ptr<optimization::Optimizer> make_optimizer() const;         // of gradients
  std::unique_ptr<optimization::Optimizer> make_server_optimizer() const;  // of what is pushed
  optimization::Schedule make_schedule() const;
  std::unique_ptr<server::Gate> make_gate() const;
  const std::string& consistency() const { return gate_; }  // the model's name
  // Whether the consistency model takes the steps of all partitions together.
  bool synchronous() const { return synchronous_; }
  // And each step has all of them, so that bits are promised.
  bool exact() const { return synchronous_ && backup_ == 0; }
  // How many partitions a step goes without.
  std::uint32_t backup() const { return backup_; }
  // After how many times its own part of a step a worker computes for those that are late; nothing:
  // it never does.
  std::optional<double> stand_in_after() const { return stand_in_after_; }
  // How many steps a partition takes by itself between two pushes; 0 = none. Then with an optimizer
  // and a schedule of its own.
  std::uint32_t local_steps() const { return local_steps_; }
  std::unique_ptr<optimization::Optimizer> make_inner_optimizer() const;
  optimization::Schedule make_inner_schedule() const;
  // Examples of a step as servers see it, over all partitions.
  std::uint64_t step_examples() const { return data_.batch * std::max(1U, local_steps_); }
  bool traces() const { return traces_; }  // servers write what happens to their chunks
  // Servers keep what they hold in memory that outlives them, or on another server: then they are
  // replaced while the others go on.
  bool keeps_snapshots() const { return recovery_.snapshot != "none" && !snapshot_obstacle(); }
  bool keeps_snapshots_if_there_is_room() const { return recovery_.snapshot == "auto"; }
  bool keeps_replicas() const { return recovery_.replicas == 2 && !replicas_obstacle(); }
  bool servers_return() const { return keeps_snapshots() || keeps_replicas(); }
  // Then what the processes of a host share has to outlive them.
  bool memory_outlives() const {
    return keeps_snapshots() || (keeps_replicas() && shares_memory());
  }
  // Why they cannot, if so.
  std::optional<std::string> return_obstacle() const;  // neither in memory nor elsewhere
  std::optional<std::string> snapshot_obstacle() const;
  std::optional<std::string> replicas_obstacle() const;
  // Whether processes of one host may share memory.
  bool shares_memory() const { return network_.transport != "tcp"; }
  // Throw Fault::config of a direction that leaves the choice.
  compression::Codecs make_push_codecs() const;
  compression::Codecs make_pull_codecs() const;
  const std::string& push_kind() const { return pushes_.front().kind; }
  const std::string& pull_kind() const { return pulls_.front().kind; }
  // What a push leaves out goes with the next one.
  // Vectors that each partition keeps of what its pushes leave out, or have told: 2 with momentum,
  // 0 without any feedback.
  std::uint32_t residual_runs() const;
  bool pushes_factors() const;  // or may
  bool error_feedback() const { return residual_runs() != 0; }
  // EF21: pushes are what is new in gradients, which servers add to what they have of them; the
  // momentum that workers take. Nothing: pushes are gradients.
  std::optional<double> estimates() const;
  // Pulls are differences to what workers have (EF21-P).
  bool pull_feedback() const;
  std::unique_ptr<privacy::Mechanism> make_mechanism() const;

  // The job file with every default written out; reading it again gives the same text.
  std::string resolved() const { return document_->resolved(); }
  // Of the resolved file without run.dir and [launch], in hex: equal for all ranks of a job and for
  // every run of the same job.
  std::string config_sha256() const;
  // Every key that was asked for, as Document::asked_keys() has them.
  std::vector<std::string> asked_keys() const { return document_->asked_keys(); }

 private:
  RunConfig(std::unique_ptr<config::Document> document, Time now, Servers servers);

  config::Section section(std::string_view name) const { return document_->root().table(name); }
  void read_run(Time now, Servers servers);
  void read_data();
  // Null: none. Checks the keys against so many features, if not 0.
  std::unique_ptr<worker::Transform> make_transform(std::size_t features) const;
  void read_optimizer();
  void read_modes();
  // A compressor, as a table says it.
  struct LayerCodec {
    config::Section section;
    std::string match;
    std::string kind;
  };
  // The same, and what goes with it.
  struct Codec {
    config::Section section;
    std::string kind;  // empty: none that exists
    bool feedback = false;
    bool momentum = false;                 // feedback that takes it, too
    bool factors = false;                  // in two rounds of a step, with feedback
    std::optional<double> estimates = {};  // feedback that is EF21, with such a momentum
    std::size_t exempt_below = 0;
    std::vector<LayerCodec> layers = {};
    bool is_lossless() const;
    std::uint32_t residual_runs() const;
    std::string feedback_word() const;  // of a push; of its own compressor: ef
  };
  void read_compression();
  std::vector<Codec> read_direction(std::string_view name, bool pushes) const;
  Codec read_codec(const config::Section& table, bool pushes) const;
  void check_momentum(const Codec& push) const;
  void check_factors(const Codec& push) const;
  void check_estimates(const Codec& push) const;
  static void check_push(const Codec& push, const compression::Promises& promises);
  void check_pull(const Codec& pull, const compression::Promises& promises) const;
  static LayerCodec read_layer(const config::Section& table, bool pushes, const Codec& direction);
  void check_layers(const params::Layout& layout, bool sizes_are_known);
  static compression::Codecs make_codecs(const Codec& codec);
  // The one there is, or those that the job file names to choose from.
  std::span<const Codec> possible_pushes() const;
  std::span<const Codec> possible_pulls() const;
  static std::vector<std::string> tables_of(std::span<const Codec> codecs);
  bool compresses_pulls() const;  // or may
  bool skips_at_servers() const;  // gradients that are not finite
  void read_privacy();
  void check_privacy() const;
  void check_private_data(const worker::Schema& schema) const;
  void read_network();
  void read_recovery();
  void read_timeouts();
  void read_launch();
  void read_scaling();
  void check_compression();
  void cross_check();
  void check_inexact() const;
  void check_sample() const;
  void check_users() const;
  // The schema that a model sees, or nothing; appends what is wrong with the data to `faults`.
  std::optional<worker::Schema> check_data(std::vector<std::string>& faults);

  std::unique_ptr<config::Document> document_;
  RunSection run_;
  DataSection data_;
  OptimizerSection optimizer_;
  NetworkSection network_;
  CheckpointSection checkpoint_;
  RecoverySection recovery_;
  TimeoutsSection timeouts_;
  PrivacySection privacy_;
  LaunchSection launch_;
  ScalingSection scaling_;
  std::string gate_, inner_;  // the modes
  // By direction the table itself and, if it leaves the choice, the candidates that it names.
  std::vector<Codec> pushes_, pulls_;
  std::uint32_t local_steps_ = 0;
  std::uint32_t backup_ = 0;
  std::optional<double> stand_in_after_;
  bool synchronous_ = true;
  bool traces_ = false;
  Step steps_per_row_ = 20;
  std::unique_ptr<worker::Source>
      source_;  // for checking, not transformed; null if its section has faults
  std::vector<std::string> notes_;
};

}  // namespace sheaf::launcher
