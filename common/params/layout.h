// Where each tensor of a model stands in the one flat parameter vector. No gaps, in the order of
// the forward pass. Plain data: a server knows the layout's ranges, never the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sheaf::params {

// A range that does not follow the job's optimizer, but plain gradient descent: at a rate of its
// own, without schedule and decay, towards a mean gradient of so much.
struct Descent {
  float rate = 0;  // 0: it follows the optimizer
  float towards = 0;
  bool operator==(const Descent&) const = default;
};

// How the optimizer treats a range of parameters.
struct Group {
  float rate_scale = 1;   // times the learning rate; 0 = frozen
  float decay_scale = 1;  // times the weight decay; biases have 0
  // No parameters: the next version is the mean of what is pushed, and no optimizer is asked.
  bool averaged = false;
  Descent own = {};
  bool operator==(const Group&) const = default;
};

struct Tensor {
  std::string name;                  // "layers.0.weight"
  std::vector<std::uint32_t> shape;  // row-major
  std::size_t offset = 0;            // elements from the start of the vector
  std::size_t size = 0;              // elements
  std::uint32_t group = 0;           // index into Layout::groups()
};

class Layout {
 public:
  // Appends a tensor and returns its index. Equal groups share an id.
  std::size_t add(std::string name, std::vector<std::uint32_t> shape, Group group);

  const std::vector<Tensor>& tensors() const { return tensors_; }
  const std::vector<Group>& groups() const { return groups_; }
  std::size_t size() const { return size_; }  // elements of the whole vector
  // Without what is averaged.
  Layout parameters() const;

 private:
  std::vector<Tensor> tensors_;
  std::vector<Group> groups_;
  std::size_t size_ = 0;
};

}  // namespace sheaf::params
