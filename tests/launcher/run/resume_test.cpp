// Which job goes on from a checkpoint: the one whose state it has.
#include "launcher/run/resume.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

RunConfig with_push(const std::string& push) {
  const std::string override = "compression.push=" + push;
  RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&override, 1));
  config.require_sound();
  return config;
}

const std::string kNothing = "{ kind = \"none\" }";
const std::string kError = "{ kind = \"topk\", feedback = \"ef\" }";
const std::string kEstimates = "{ kind = \"topk\", feedback = \"ef21\", momentum = 0 }";
const std::string kMeans = "{ kind = \"topk\", feedback = \"ef21\" }";

// What a job with one push says to the checkpoint of a step of a job with another one.
std::string said(const std::string& push, const std::string& saved, Step step, bool residuals) {
  checkpoint::Manifest manifest = manifest_of(with_push(saved));
  manifest.step = step;
  if (residuals) manifest.residuals.emplace_back();
  try {
    require_same_job(with_push(push), manifest);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    return error.message();
  }
  return {};
}

// Of two unlike jobs the one has a sum of which the other knows no part, or the reverse.
TEST(Resume, WhatPushesHaveToldIsGoneOnWithByTheSameFeedbackAlone) {
  for (const std::string& push : {kEstimates, kMeans}) {
    for (const Step step : {Step{0}, Step{5}}) {
      for (const std::string& other : {kNothing, kError, push == kMeans ? kEstimates : kMeans}) {
        for (const auto& [ours, saved] : {std::pair{push, other}, std::pair{other, push}}) {
          EXPECT_THAT(said(ours, saved, step, true), HasSubstr("compression.push.feedback: found "))
              << ours << " from " << saved;
        }
      }
      EXPECT_THAT(said(push, push, step, true), IsEmpty());
    }
    EXPECT_THAT(said("{ kind = \"int8\", feedback = \"ef21\", momentum = 0.5 }", kMeans, 5, true),
                IsEmpty());  // another compressor tells the same
  }
  EXPECT_THAT(said(kMeans, kEstimates, 5, true),
              HasSubstr("found ef21 with momentum, expected ef21 as in the checkpoint of step 5"));
}

TEST(Resume, ACheckpointThatLacksWhatPushesHaveToldIsRefused) {
  EXPECT_THAT(said(kMeans, kMeans, 5, false),
              HasSubstr("the checkpoint of step 5: found nothing of what pushes have told"));
  EXPECT_THAT(said(kMeans, kMeans, 0, false), IsEmpty());  // nothing was told before it
}

// What was left out is gone, or begins with nothing: that changes no sum.
TEST(Resume, OtherFeedbackMayBeginAndEnd) {
  EXPECT_THAT(said(kNothing, kError, 5, true), IsEmpty());
  EXPECT_THAT(said(kError, kNothing, 5, false), IsEmpty());
}

}  // namespace
}  // namespace sheaf::launcher
