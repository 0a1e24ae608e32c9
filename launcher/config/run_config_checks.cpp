// What one section of a job file asks of others.
#include <fmt/format.h>

#include "launcher/config/run_config.h"
#include "worker/data/batcher.h"

namespace sheaf::launcher {

using config::Section;

// What needs the steps of all partitions together.
void RunConfig::check_inexact() const {
  const std::string with = fmt::format(" with consistency.kind = \"{}\"", gate_);
  const Section optimizer = section("optimizer");
  if (!synchronous_ && optimizer_.clip_norm && optimizer.sound("clip_norm")) {
    optimizer.fault("clip_norm", fmt::format("{}", *optimizer_.clip_norm),
                    "no clipping" + with + ": a push is applied before its norm is known",
                    "a lower optimizer.rate");
  }
  if (run_.deterministic) {
    section("run").fault("deterministic", "true",
                         "false" + with + ": its bits depend on who comes first", "false");
  }
}

// A sample is a share of what there is to train on.
void RunConfig::check_sample() const {
  const Section data = section("data");
  const worker::Split::Fractions fractions{data_.validation, data_.test};
  const std::uint64_t rows = source_->rows(worker::SourcePart::train);
  if (rows == 0 || worker::Split::problem(fractions) || !data.sound("batch")) return;
  if (privacy_.by_user && data_.users.empty()) return;
  const std::uint64_t units =
      worker::Split(worker::dealt_out(*source_, privacy_.by_user), fractions, 1, run_.seed)
          .size(worker::Part::train);
  if (data_.batch <= units) return;
  const std::string_view what = privacy_.by_user ? "users" : "examples";
  data.fault("batch", fmt::format("{}", data_.batch),
             fmt::format("with sampling = \"poisson\" at most the {} {} of the training part: "
                         "each takes part with probability batch / {}",
                         units, what, what));
}

// Users are named where they are protected, and nowhere else: else somebody might think they were.
void RunConfig::check_users() const {
  const Section data = section("data"), privacy = section("privacy");
  if (!source_ || !privacy.sound("unit")) return;
  if (!privacy_.by_user) {
    if (data_.users.empty() || !data.sound("users")) return;
    data.fault("users", fmt::format("\"{}\" without privacy.unit = \"user\"", data_.users),
               "no users: privacy of users alone asks whose an example is",
               "privacy.unit = \"user\"");
    return;
  }
  if (data_.users.empty()) {
    privacy.fault("unit", fmt::format("\"user\" with data.kind = \"{}\"", data_.kind),
                  "data.users, which says whose each example is: a column of csv, a file of npy, "
                  "or how many users of made examples; other kinds of data have no place for it",
                  "\"example\"");
  }
  if (data_.sampling == worker::Sampling::shuffle && data.sound("sampling")) {
    data.fault("sampling", "\"shuffle\" with privacy.unit = \"user\"",
               "\"poisson\", which draws users: shuffled batches would have examples of one user "
               "in any number of steps",
               "\"poisson\"");
  }
}

}  // namespace sheaf::launcher
