#include "launcher/privacy.h"

#include <fmt/ostream.h>

#include <nlohmann/json.hpp>

#include "common/privacy/accounting/accountant.h"

namespace sheaf::launcher {

int show_privacy(const PrivacyCommand& command, std::ostream& out) {
  const auto method = command.rdp ? privacy::Method::renyi : privacy::Method::tight;
  privacy::GaussianSteps steps = command.steps;
  if (command.epsilon) {
    steps.noise =
        privacy::noise_for(*command.epsilon, steps, command.delta, command.adjacency, method);
  }
  const privacy::Epsilon epsilon =
      privacy::epsilon_of({&steps, 1}, command.delta, command.adjacency, method);
  const bool replaces = command.adjacency == privacy::Adjacency::replace_one;
  nlohmann::ordered_json figures = {{"epsilon", epsilon.value},
                                    {"delta", command.delta},
                                    {"noise", steps.noise},
                                    {"sampling_rate", steps.sampling_rate},
                                    {"steps", steps.count},
                                    {"adjacency", replaces ? "replace-one" : "add-remove"},
                                    {"accountant", epsilon.accountant},
                                    {"error", epsilon.error}};
  if (epsilon.order) figures["order"] = *epsilon.order;
  if (command.json) {
    fmt::print(out, "{}\n", figures.dump());
    return 0;
  }
  for (const auto& [name, value] : figures.items()) {
    fmt::print(out, "{}\t{}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return 0;
}

}  // namespace sheaf::launcher
