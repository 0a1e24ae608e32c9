// `sheaf train --resume RUN`: which checkpoint a job goes on from, and whether the job file still
// says the same job.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "common/checkpoint/manifest.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// What a manifest of this job says besides its step and files; the layout is not known yet.
checkpoint::Manifest manifest_of(const RunConfig& config);

// The newest checkpoint under RUN/checkpoints that is whole; nothing if there is none at all. Every
// byte of it was read. What was refused is said. Throws Fault::checkpoint if all are damaged.
std::optional<checkpoint::Manifest> newest_checkpoint(
    const std::filesystem::path& run, const std::function<void(std::string_view)>& say);

// The newest checkpoint under RUN/checkpoints; nothing if there is none. Only its manifest is read:
// for whoever takes over a job that is at work, whose ranks wait meanwhile. Damaged ones are said.
std::optional<checkpoint::Manifest> newest_manifest(
    const std::filesystem::path& run, const std::function<void(std::string_view)>& say);

// The newest checkpoint under RUN/checkpoints that is whole, or that of `step`. Every byte of it
// was read. What was refused is said. Throws Fault::checkpoint if there is none.
checkpoint::Manifest choose_checkpoint(const std::filesystem::path& run, std::optional<Step> step,
                                       const std::function<void(std::string_view)>& say);

// Throws Fault::config, one line for each, if the job file says other steps than the checkpoint has
// taken: other partitions, another seed, batch or optimizer.
void require_same_job(const RunConfig& config, const checkpoint::Manifest& manifest);

// Whether pushes before the checkpoint had left something out that it does not have: an older build
// has written it.
bool lacks_residuals(const checkpoint::Manifest& manifest);

// What is newer in the folder checkpoints/ than the step that the job goes on from goes.
void remove_newer(const std::filesystem::path& checkpoints, Step step,
                  const std::function<void(std::string_view)>& say);

}  // namespace sheaf::launcher
