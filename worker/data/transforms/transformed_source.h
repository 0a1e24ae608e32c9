// A source whose inputs are transformed as they are read; targets, rows and places are those of the
// source behind it. Bytes are read as x / 255.
#pragma once

#include <memory>

#include "worker/data/source.h"
#include "worker/data/transforms/transform.h"

namespace sheaf::worker {

// What examples of `source` look like behind `transform`, which may be null.
Schema transformed_schema(const Schema& source, const Transform* transform);

// Owns both. With a null transform it is `source` itself. read() holds the rows that it keeps once
// more, as the source has them, while it runs. REQUIRES: `transform` was made for the features of
// `source`.
std::unique_ptr<Source> transformed(std::unique_ptr<Source> source,
                                    std::unique_ptr<Transform> transform);

}  // namespace sheaf::worker
