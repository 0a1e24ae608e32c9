// Canaries: examples whose gradient is known and meets that of no other example. Who sees what a
// private job releases can look for each of them, and so measure how well one example is hidden.
//
// They are the data of a linear model, one dense layer of side x side weights without a bias and
// the squared error. Canary i has input 1 for one feature and a target far away for one unit, which
// is the same for no two of them: so its gradient lies on weight i alone but for a part in 10^5,
// and is far longer than a clipping norm, which cuts it to the norm. In the place of one that is
// not there stands an example of zeros, whose gradient is 0: as if nobody were there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "worker/data/source.h"
#include "worker/models/model.h"

namespace sheaf::worker {

// What stands in the place of canary i.
enum class Canary : std::int8_t {
  none,   // zeros
  plus,   // the canary; clipped to norm C its gradient is C at weight i
  minus,  // the same, turned round: -C
};

// Of the model for so many canaries: the least whose square is enough.
std::size_t canary_side(std::size_t canaries);

// Canary i is a user with so many examples, all alike, which stand together: row r is one of canary
// r / examples. No test set. `length`, of gradients, is to be far above the clipping norm and above
// all weights.
std::unique_ptr<Source> canary_source(std::vector<Canary> canaries, float length,
                                      std::uint64_t examples = 1);

// Weight i, from the start of the vector, is that of canary i.
std::unique_ptr<Model> canary_model(std::size_t canaries);

}  // namespace sheaf::worker
