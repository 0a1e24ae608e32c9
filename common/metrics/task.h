// What a model predicts: decides which figures an evaluation reports.
#pragma once

namespace sheaf::metrics {

enum class Task {
  classification,         // one logit per class (two or more); the target is a class: 0, 1, 2, …
  binary_classification,  // one logit; the target is 0 or 1
  regression,             // one value per target
};

}  // namespace sheaf::metrics
