#include "launcher/coordinator/agreement.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::launcher {
bool same_layout(const params::Layout& a, const params::Layout& b) {
  return std::ranges::equal(
      a.tensors(), b.tensors(), [&](const params::Tensor& x, const params::Tensor& y) {
        return x.name == y.name && x.shape == y.shape && a.groups()[x.group] == b.groups()[y.group];
      });
}

// Factors of powersgd are tensors, and a bound that adapts is one, which no model has by itself.
std::string what_differs(const params::Layout& saved, const params::Layout& wanted) {
  const auto same = [](const params::Tensor& x, const params::Tensor& y) {
    return x.name == y.name && x.shape == y.shape;
  };
  if (std::ranges::equal(saved.tensors(), wanted.tensors(), same)) {
    return "the same model, of which single tensors take other steps: keep privacy.clip, "
           ".quantile, "
           ".bound_rate and .count_share where the bound adapts, and what says which layers learn";
  }
  if (same_layout(saved.parameters(), wanted.parameters())) {
    return "the same model with other factors: keep the rank of compression.push (powersgd), what "
           "it spares, and network.chunk_kib";
  }
  return fmt::format(
      "another model than the job file says: {} parameters in {} tensors, found {} in {}",
      saved.size(), saved.tensors().size(), wanted.size(), wanted.tensors().size());
}

Agreement compare(const std::map<ProcessId, wire::Registration>& registrations,
                  bool deterministic) {
  const wire::Registration& first = registrations.at({Role::worker, 0});
  Agreement agreement;
  for (const auto& [process, r] : registrations) {
    const auto refuse = [&, id = process](Fault fault, std::string text) {
      agreement.misfit = wire::Failure{id, static_cast<int>(fault), "", std::move(text)};
      return agreement;
    };
    if (process.role == Role::worker && r.data_digest != first.data_digest) {
      return refuse(
          Fault::data,
          fmt::format("{} on {} reads other data than worker 0 on {}: the files of [data] "
                      "differ; make them the same on every host",
                      to_string(process), r.info.host, first.info.host));
    }
    if (process.role == Role::worker && !same_layout(r.layout, first.layout)) {
      return refuse(Fault::data, fmt::format("{} has another model than worker 0: its data has "
                                             "another number of features",
                                             to_string(process)));
    }
    if (r.numerics == first.numerics) continue;
    std::string text = fmt::format(
        "{} on {} computes with {}, worker 0 on {} with {}: the result is not bit-exact",
        to_string(process), r.info.host, r.numerics, first.info.host, first.numerics);
    if (deterministic) {
      return refuse(Fault::config, text + ", and run.deterministic = true refuses that");
    }
    agreement.warnings.push_back(std::move(text));
  }
  return agreement;
}

}  // namespace sheaf::launcher
