// A model from the text of its [model] table, for tests. Owns the document behind it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/config/section.h"
#include "worker/models/model.h"

namespace sheaf::worker {

struct JobModel {
  JobModel(const std::string& text, const Schema& schema)
      : job(config::Document::from_text("[model]\n" + text, "job.toml")),
        model(job->root().table("model"), schema),
        parameters(model.layout().size()),
        gradient(model.layout().size()) {
    job->reject_unknown();
  }

  // A batch of these rows.
  Batch batch(std::span<const float> inputs, std::span<const float> targets) const {
    Batch made = make_batch(targets.size() / model.schema().targets, model.schema());
    made.examples = targets.size() / model.schema().targets;
    for (std::size_t i = 0; i < inputs.size(); ++i) made.inputs[i] = inputs[i];
    for (std::size_t i = 0; i < targets.size(); ++i) made.targets[i] = targets[i];
    return made;
  }

  std::vector<std::string> faults() const { return job->faults(); }

  std::unique_ptr<config::Document> job;
  Model model;
  std::vector<float> parameters, gradient;
};

}  // namespace sheaf::worker
