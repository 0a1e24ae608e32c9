#include "launcher/config/privacy_arguments.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <string_view>

namespace sheaf::launcher {
namespace {

// All of `text`, or nothing.
template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc{} || rest != end) return std::nullopt;
  return value;
}

// "0.0025" or "150/60000".
std::optional<double> fraction(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto above = number<double>(text.substr(0, slash));
  if (!above || slash == std::string_view::npos) return above;
  const auto below = number<double>(text.substr(slash + 1));
  if (!below || *below == 0) return std::nullopt;
  return *above / *below;
}

bool positive(const std::optional<double>& x) { return x && *x > 0 && std::isfinite(*x); }

PrivacyFault fault(std::string_view option, const std::string& text, std::string expected) {
  return {text.empty() ? fmt::format("no {}", option) : fmt::format("{} {}", option, text),
          std::move(expected)};
}

std::optional<PrivacyFault> read_sampled(const PrivacyTexts& texts, PrivacyCommand& command) {
  const auto rate = fraction(texts.sampling_rate);
  if (!positive(rate) || *rate > 1) {
    return fault("--sampling-rate", texts.sampling_rate,
                 "a number above 0 and up to 1, or a fraction like 150/60000");
  }
  if (texts.unit == "column" && *rate != 1) {
    return fault("--sampling-rate", texts.sampling_rate + " with --unit column",
                 "--sampling-rate 1: every batch holds every feature; or --unit user, where a "
                 "column says whose each example is");
  }
  command.steps.sampling_rate = *rate;
  if (texts.adjacency == "replace-one") command.adjacency = privacy::Adjacency::replace_one;
  return std::nullopt;
}

// What a job with privacy.kind = "correlated" may be.
std::optional<PrivacyFault> read_shared(const PrivacyTexts& texts, PrivacyCommand& command) {
  if (!texts.sampling_rate.empty()) {
    return PrivacyFault{"--sampling-rate with --bands or --steps-between",
                        "one of them: steps that share noise take examples in a fixed order"};
  }
  const auto bands = number<std::size_t>(texts.bands);
  if (!bands || *bands < 1 || *bands > 4096) {
    return fault("--bands", texts.bands, "a whole number from 1 to 4096");
  }
  const auto between = number<std::uint64_t>(texts.steps_between);
  if (!between || *between < 1 || *between > privacy::kMostPlannedSteps) {
    return fault("--steps-between", texts.steps_between,
                 fmt::format("the steps of an epoch, a whole number from 1 to {}",
                             privacy::kMostPlannedSteps));
  }
  if (texts.adjacency == "add-remove") {
    return fault("--adjacency", "add-remove with --bands",
                 "replace-one: one example more would move all others");
  }
  if (texts.unit != "example") {
    return fault("--unit", texts.unit + " with --bands",
                 "example: whoever has more is in several steps of an epoch");
  }
  command.shared = {.bands = *bands, .count = 1, .between = *between};
  command.adjacency = privacy::Adjacency::replace_one;
  return std::nullopt;
}

}  // namespace

std::variant<PrivacyCommand, PrivacyFault> privacy_command(const PrivacyTexts& texts) {
  PrivacyCommand command;
  command.rdp = texts.rdp;
  command.json = texts.json;

  if (!texts.from.empty()) {
    command.run = texts.from;
    const std::pair<std::string_view, const std::string&> others[] = {
        {"--sampling-rate", texts.sampling_rate},
        {"--noise", texts.noise},
        {"--epsilon", texts.epsilon},
        {"--steps", texts.steps},
        {"--delta", texts.delta},
        {"--bands", texts.bands},
        {"--steps-between", texts.steps_between}};
    for (const auto& [option, text] : others) {
      if (text.empty()) continue;
      return PrivacyFault{fmt::format("--from with {}", option),
                          "--from alone, or with --rdp or --json: the rest is in the ledger"};
    }
    return command;
  }

  const bool shares = !texts.bands.empty() || !texts.steps_between.empty();
  if (shares) {
    if (auto wrong = read_shared(texts, command)) return std::move(*wrong);
  } else if (auto wrong = read_sampled(texts, command)) {
    return std::move(*wrong);
  }

  if (texts.noise.empty() == texts.epsilon.empty()) {
    return PrivacyFault{
        texts.noise.empty() ? "neither --noise nor --epsilon" : "both --noise and --epsilon",
        "one of them: the noise, or the epsilon to find the noise for"};
  }
  if (texts.epsilon.empty()) {
    const auto noise = number<double>(texts.noise);
    if (!positive(noise)) {
      return fault("--noise", texts.noise, "a number above 0, in units of the clipping norm");
    }
    command.steps.noise = *noise;
  } else {
    command.epsilon = number<double>(texts.epsilon);
    if (!positive(command.epsilon)) return fault("--epsilon", texts.epsilon, "a number above 0");
  }

  const std::uint64_t most = shares ? privacy::kMostPlannedSteps : 1'000'000'000;
  const auto steps = number<std::uint64_t>(texts.steps);
  if (!steps || *steps < 1 || *steps > most) {
    return fault("--steps", texts.steps, fmt::format("a whole number from 1 to {}", most));
  }
  command.steps.count = *steps;
  if (shares) command.shared->count = *steps;

  const auto delta = number<double>(texts.delta);
  if (!delta || !(*delta > 0 && *delta < 1)) {
    return fault("--delta", texts.delta, "a number between 0 and 1, well below 1 / examples");
  }
  command.delta = *delta;
  command.unit = texts.unit;
  return command;
}

}  // namespace sheaf::launcher
