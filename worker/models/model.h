// A stack of layers and a loss over one flat parameter vector. Parameters and gradients belong to
// the caller; the model owns activations and scratch, allocated once by reserve(). One model serves
// all partitions of a process, one after the other; not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/ids.h"
#include "common/params/layout.h"
#include "worker/data/batch.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::privacy {
struct Clip;
}

namespace sheaf::worker {

class Layer;
class Loss;

// Names the randomness of one pass (dropout), never its place or time.
struct PassKey {
  std::uint64_t seed = 0;
  Step step = 0;
  std::uint32_t partition = 0;
};

// Told about the progress of a pass, so that exchange overlaps with compute. Offsets are elements
// of the flat vector.
class PassObserver {
 public:
  virtual ~PassObserver() = default;
  // Parameters [begin, end) are about to be read; returns when they may be.
  virtual void before_forward(std::size_t begin, std::size_t end) = 0;
  // Gradients [begin, size of the vector) are final, and this pass has read parameters from `begin`
  // on for the last time.
  virtual void after_backward(std::size_t begin) = 0;
};

// What a pass with clipping tells beside the gradient. A function of the examples without any
// noise: to be released it would have to be accounted for.
struct ClippedPass {
  double loss = 0;  // the sum of the example losses; no number if one is not finite
  std::size_t examples = 0;
  std::size_t left_out = 0;  // of those, whose gradient is not finite
};

class Model {
 public:
  // Reads [model]: `layers` and `loss`. Faults (unknown kinds, shapes that do not fit the data or
  // the loss) are recorded in the section's document; then only layout() and loss() may be used,
  // and the layout holds the tensors whose shape is known. A zero in `schema` means that the data
  // could not be read: what depends on it is not checked.
  Model(const config::Section& section, const Schema& schema);
  ~Model();

  const params::Layout& layout() const { return layout_; }
  const Schema& schema() const { return schema_; }
  const Loss& loss() const { return *loss_; }
  std::size_t outputs() const { return width_; }  // logits or values per example

  // One more parameter, the last one, that no layer reads: x of an adaptive bound (clip.h). From
  // now on `clip` is that kind. Once.
  void add_bound(const privacy::Clip& clip);

  // Writes initial parameters, a function of seed and layout alone. REQUIRES: full vector.
  void initialise(std::span<float> parameters, std::uint64_t seed) const;

  // Allocates for passes of up to `examples` rows. Later passes allocate nothing.
  void reserve(std::size_t examples);

  // Forward and backward pass over one batch. REQUIRES: examples <= what was reserved.
  // Overwrites all of `gradient` (of what no layer reads: with 0) with the gradient of the SUM of
  // the example losses, and returns that sum (fp64); without examples both are 0.
  double gradient(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                  std::span<float> gradient, PassObserver* observer = nullptr);

  // The place in the stack of the first layer that keeps gradients of single examples from being
  // clipped (no rule, or examples that are not apart), or nothing.
  std::optional<std::size_t> layer_without_example_rule() const;

  // Allocates for clipped_gradient(); includes reserve().
  void reserve_clipping(std::size_t examples);

  // The same pass, but the gradient of each example is multiplied by what `clip` makes of its norm
  // over all tensors before it is summed; an example whose gradient is not finite adds nothing.
  // What adapts does so to the bound that the parameters have, and counts in its place.
  // Without examples the gradient is 0. Computes no gradient of a single example, and no more
  // matrix products than gradient(); the observer hears of the first one that is done only when all
  // norms are known. REQUIRES: examples <= what reserve_clipping() was told, no
  // layer_without_example_rule(), and a bound exactly where `clip` adapts.
  ClippedPass clipped_gradient(std::span<const float> parameters, const Batch& batch,
                               const PassKey& key, const privacy::Clip& clip,
                               std::span<float> gradient, PassObserver* observer = nullptr);

  // Forward pass without dropout. Returns the sum of the example losses; the outputs
  // (examples x outputs) stay valid until the next pass.
  double evaluate(std::span<const float> parameters, const Batch& batch,
                  std::span<const float>& outputs);

 private:
  // Where a layer's tensors lie in the flat vector.
  struct Range {
    std::size_t begin = 0, size = 0;
  };
  void add_layer(const config::Section& section, std::vector<std::string>& names);
  void add_loss(const config::Section& section);
  std::span<const float> input(std::size_t layer, const Batch& batch) const;
  void forward(std::span<const float> parameters, const Batch& batch, const PassKey& key,
               bool training, PassObserver* observer);
  void empty_pass(std::span<float> gradient, PassObserver* observer);
  // Below it nobody asks for a gradient.
  std::size_t lowest_with_parameters() const;
  double propagate(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                   std::span<double> squares);
  void clear_left_out(const Batch& batch, std::span<const float> weights);

  params::Layout layout_;
  Schema schema_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::vector<Range> ranges_;  // of layers_
  std::size_t width_;          // outputs of the last layer; 0 if a fault leaves it open
  std::unique_ptr<Loss> loss_;
  std::optional<std::size_t> bound_;  // where x is

  std::size_t reserved_ = 0;                       // examples
  std::vector<AlignedBuffer<float>> activations_;  // of layers_: (examples x outputs)
  std::array<AlignedBuffer<float>, 2> gradients_;  // with respect to activations, by turns

  // Of clipped_gradient().
  std::size_t reserved_clipping_ = 0;          // examples
  std::vector<AlignedBuffer<float>> signals_;  // of layers_: (examples x outputs)
  std::vector<double> squares_;                // of the examples
  std::vector<float> weights_;                 // of the examples
  AlignedBuffer<float> clean_inputs_;          // without what is not finite, when there was any
};

}  // namespace sheaf::worker
