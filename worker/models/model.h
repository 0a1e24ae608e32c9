// A stack of layers and a loss over one flat parameter vector. Parameters and gradients belong to
// the caller; the model owns activations and scratch, allocated once by reserve(). One model serves
// all partitions of a process, one after the other; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/params/layout.h"
#include "worker/data/batch.h"

namespace sheaf::config {
class Section;
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

// Told about the progress of a pass, so that exchange overlaps with compute. Offsets are elements of
// the flat vector.
class PassObserver {
 public:
  virtual ~PassObserver() = default;
  // Parameters [begin, end) are about to be read; returns when they may be.
  virtual void before_forward(std::size_t begin, std::size_t end) = 0;
  // Gradients [begin, size of the vector) are final.
  virtual void after_backward(std::size_t begin) = 0;
};

class Model {
 public:
  // Reads [model]: `layers` and `loss`. Faults (unknown kinds, shapes that do not fit the data or
  // the loss) are recorded in the section's document; then only the layout of what fits is valid.
  Model(const config::Section& section, const Schema& schema);
  ~Model();

  const params::Layout& layout() const { return layout_; }
  const Schema& schema() const { return schema_; }
  const Loss& loss() const { return *loss_; }
  std::size_t outputs() const;  // floats per example that predict() gives (logits or values)

  // Writes initial parameters, a function of seed and layout alone. REQUIRES: full vector.
  void initialise(std::span<float> parameters, std::uint64_t seed) const;

  // Allocates for passes of up to `examples` rows. Later passes allocate nothing.
  void reserve(std::size_t examples);

  // Forward and backward pass over one batch (examples >= 1). Overwrites all of `gradient` with the
  // gradient of the SUM of the example losses, and returns that sum (fp64).
  double gradient(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                  std::span<float> gradient, PassObserver* observer = nullptr);

  // Forward pass without dropout. Returns the sum of the example losses; the outputs
  // (examples x outputs) stay valid until the next pass.
  double evaluate(std::span<const float> parameters, const Batch& batch,
                  std::span<const float>& outputs);

 private:
  params::Layout layout_;
  Schema schema_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::unique_ptr<Loss> loss_;
  struct Workspace;
  std::unique_ptr<Workspace> workspace_;
};

}  // namespace sheaf::worker
