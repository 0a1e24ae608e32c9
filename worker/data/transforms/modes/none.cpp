#include "worker/data/transforms/transform.h"

namespace sheaf::worker {
namespace {

std::unique_ptr<Transform> make_none(const config::Section&, std::size_t) { return nullptr; }

}  // namespace

extern const Mode<Transform> transform_none = {"inputs stay as the source gives them", &make_none};

}  // namespace sheaf::worker
