// One training step of one worker, in order: the worker's half of the data path.
//
//   wait for the parameters, layer by layer → forward, backward, [clip] → [noise] → [encode] →
//   push, chunk by chunk while backward still runs → ask for the next version
//
// Where partitions whose gradient is not finite are to be rejected, or gradients are clipped before
// momentum, a push waits for the end of its backward pass instead.
//
// With local steps a round of them (Replica) stands for forward and backward; how far it went is
// pushed like a gradient.
//
// Where chunks are pushed as factors a step has two rounds (training_rounds.cpp).
//
// With a stand-in a step ends here when it is over everywhere, and the wait for that is used.
//
// Hosted partitions are taken one after the other. Where sums may be taken before the push
// (synchronous, lossless and without noise), whole nodes of the partition tree are summed here and
// pushed once; otherwise each partition pushes for itself. What is pushed is written once, into the
// workspaces of the exchange, which others may map; but what the worker adds noise to is computed
// in memory of its own. Buffers are allocated once. Belongs to the compute thread. What it borrows
// outlives it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/cluster/coordination.h"
#include "common/compression/compressor.h"
#include "common/compression/error_feedback.h"
#include "common/compression/estimate_feedback.h"
#include "common/compression/momentum_feedback.h"
#include "common/params/chunk_map.h"
#include "common/params/partition_tree.h"
#include "common/privacy/mechanism.h"
#include "worker/client/push_pull.h"
#include "worker/data/batch_plan.h"
#include "worker/data/batcher.h"
#include "worker/models/model.h"
#include "worker/residuals/residual_saver.h"
#include "worker/residuals/residuals.h"
#include "worker/step/factor_rounds.h"
#include "worker/step/own_pace.h"
#include "worker/step/partition_gradient.h"
#include "worker/step/replica.h"
#include "worker/step/stand_in.h"

namespace sheaf::worker {

class TrainingStep final : public PassObserver {
 public:
  struct Parts {
    Model& model;
    const BatchPlan& plan;
    Batcher& batcher;
    Batcher::Fill fill;  // any batch again, for a repeated push
    const params::ChunkMap& chunks;
    const compression::Compressor& compressor;
    const privacy::Mechanism& mechanism;
    PushPull& exchange;
    cluster::Coordination& coordination;
    PartitionRange hosted;
    std::uint64_t seed;
    bool synchronous;
    bool drops;  // see WorkerParts
    optimization::NonFinite non_finite;
    const LocalSteps* local;  // null: a step is a gradient
    // What lossy pushes leave out, which goes with the next ones, and who saves it. Null: nobody
    // keeps it; it is not saved.
    Residuals* residuals = nullptr;
    ResidualSaver* saver = nullptr;
    std::optional<double> estimates = {};  // see WorkerParts
    // Who computes for others while this worker waits, as soon as that takes so many times its own
    // part of a step; null: nobody.
    StandIn* stand_in = nullptr;
    double patience = 0;
  };
  explicit TrainingStep(const Parts& parts);
  // The workspaces that the exchange must have for it.
  static void plan_workspaces(const params::ChunkMap& chunks,
                              const compression::Compressor& compressor,
                              const privacy::Mechanism& mechanism, bool synchronous,
                              worker::PushPull::Options& options);
  // Stops the exchange: on the way out of a failure it still moves bytes from and to our buffers.
  ~TrainingStep() { parts_.exchange.stop(); }
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  // Takes step `step` (from 0): reads what was pulled at that clock, leaves what is pulled at the
  // next one on its way.
  // Throws Fault::diverged when a loss is not finite and that is to end the job.
  void run(Step step);

  // Passes over steps [from, to), which have been taken without us.
  void pass(Step from, Step to);

  double compute_seconds() const { return compute_seconds_; }

  // PassObserver
  void before_forward(std::size_t begin, std::size_t end) override;
  void after_backward(std::size_t begin) override;

 private:
  // What one push at a time works in; two, so that one is computed while the other is in flight.
  struct Workspace {
    std::vector<std::span<float>> sums;     // sums[0] is of the node; deeper ones wait in the tree
    std::vector<AlignedBuffer<float>> own;  // memory of those that the exchange does not read
    std::span<std::byte> pushed;            // where what is pushed is written, if not in sums[0]
  };
  // Whether gradients are computed where the exchange reads them.
  bool in_place() const {
    return parts_.compressor.identity() && !parts_.mechanism.perturbs_at_worker();
  }
  std::span<const float> parameters(Step step) const {
    return parts_.exchange.parameters(step).first(parts_.model.layout().size());
  }
  std::uint64_t examples(PartitionRange node) const;
  void contribute(PartitionRange node);
  void contribute_whole(PartitionRange node);
  void stand_in();
  // In training_rounds.cpp.
  void run_in_rounds();
  void gather_for_rounds(std::uint32_t partition);
  void push_floats(std::size_t begin, std::size_t end, std::span<const float> values);
  void push_in_rounds(std::uint32_t chunk);
  std::uint64_t gather_leaf(std::uint32_t partition, std::size_t depth);
  void clip(std::uint64_t examples, std::span<float> gradient) const;
  void expect_finite(std::uint32_t partition, double loss) const;
  void sum_node(PartitionRange node, std::size_t depth, bool streams);
  void skip(PartitionRange node);
  void report(std::uint32_t partition, std::uint64_t examples, double loss, bool rejected = false);
  double compute(Step step, std::uint32_t partition, const Batch& batch, std::span<float> into,
                 PassObserver* observer);
  void leaf(std::uint32_t partition, std::size_t depth, bool streams);
  void push_chunk(std::uint32_t chunk);
  std::span<const std::byte> release(Step step, std::uint32_t chunk, std::span<float> sum,
                                     std::uint32_t partition, std::span<std::byte> into);
  void resend(Step step, std::uint32_t chunk, std::span<const std::uint32_t> missing);
  // In training_encode.cpp.
  std::span<const std::byte> encode(Step step, std::uint32_t chunk, Noised values,
                                    std::uint32_t partition, std::span<std::byte> into);
  std::size_t encode_with_feedback(const compression::EncodingKey& key,
                                   std::span<const float> before, std::span<const float> values,
                                   std::span<std::byte> bytes, std::span<float> after);

  Parts parts_;
  PartitionGradient gradient_;
  bool rejects_;  // partitions whose gradient is not finite
  std::optional<Replica> replica_;
  params::PartitionTree tree_;
  std::vector<PartitionRange> nodes_;  // pushed for, ascending
  std::size_t encoded_chunk_bytes_ = 0;
  // Where residuals are kept, one of them.
  std::optional<compression::ErrorFeedback> feedback_;
  std::optional<compression::MomentumFeedback> momentum_;
  std::optional<FactorRounds> rounds_;
  std::optional<compression::EstimateFeedback> estimate_;
  double most_norm_ = 0;  // of a partition's mean gradient before momentum; 0: any
  std::vector<Workspace> workspaces_;
  // For a repeated push; allocated when it happens.
  Batch again_;
  AlignedBuffer<float> again_gradient_;
  std::vector<std::vector<std::byte>> again_bytes_;

  // The state of the step under way.
  Step step_ = 0;
  Workspace* workspace_ = nullptr;
  PartitionRange node_;
  std::uint64_t node_examples_ = 0;
  std::uint32_t partition_ = 0;  // whose pass is running
  std::size_t depth_ = 0;        // where its gradient lies
  bool streams_ = false;         // its backward pass completes chunks of the node
  bool last_node_ = false;       // with examples: then the next version is asked for
  bool needed_back_ = false;     // a later node waits until this one is settled
  std::size_t pushed_ = 0;       // chunks of this step
  wire::Digest digest_{};        // of what a partition has released of it
  std::size_t pushed_from_ = 0;  // chunks [pushed_from_, size) have been pushed
  double compute_seconds_ = 0;
  OwnPace own_pace_;
};

}  // namespace sheaf::worker
