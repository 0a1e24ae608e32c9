// What a rank has told its coordinator and has to tell another one that takes over from it: parts
// of sums that may not be whole everywhere, the last losses, checkpoints under way, and the final
// model and report. Bounded, apart from that model. Plain code; not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/wire/frame.h"
#include "common/wire/messages.h"

namespace sheaf::cluster {

// A control frame on its way.
struct ControlFrame {
  wire::Header header;
  std::vector<std::byte> body;
};

class TakeoverMemory {
 public:
  static constexpr std::size_t kLosses = 4096;  // that are kept

  // ---- sums and lists ----

  // This worker contributes, after it has begun so many steps.
  void on_contribution(std::string_view tag, Step begun, const ControlFrame& frame);
  // The total of a sum is here. All workers contribute in the same order: what was contributed
  // before the steps that came before this one is whole, and whoever waited for it has it. What
  // belongs to loading the data stays: who takes a lost worker's place loads it again, and needs
  // the parts of all.
  void on_total(const std::string& tag);
  // A part of the final model, or the report.
  void on_end(const ControlFrame& frame) { end_.push_back(frame); }
  // All of that, in order.
  std::vector<ControlFrame> frames() const;

  // ---- losses ----

  void on_losses(const std::vector<wire::StepLoss>& reported);
  // The first step of which nothing is missing. REQUIRES: none is reported of a step before
  // `first`.
  Step known_from(Step first) const;
  std::vector<wire::StepLoss> losses() const { return {losses_.begin(), losses_.end()}; }
  // They are reported again.
  void forget_losses() { losses_.clear(); }

  // ---- checkpoints ----

  struct Given {
    std::optional<wire::CheckpointAnswer> answer;
    std::optional<wire::Saved> saved;
  };
  // An order. What was answered to it before, if it is known: a server does it once.
  std::optional<Given> on_order(const wire::CheckpointAt& order);
  void on_base(const wire::CheckpointBase& base);
  void on_answer(const wire::CheckpointAnswer& answer);
  void on_saved(const wire::Saved& saved);
  // Versions that were ordered and are not written.
  std::vector<Version> ordered() const;
  // Checkpoints whose files those may name that were ordered, written or not.
  std::vector<wire::CheckpointBase> bases() const;

 private:
  struct Contribution {
    std::string tag;
    Step begun = 0;
    ControlFrame frame;
  };
  std::vector<Contribution> contributions_;
  std::vector<ControlFrame> end_;
  std::deque<wire::StepLoss> losses_;
  std::optional<Step> forgotten_;  // the newest step of which a loss was dropped
  std::map<Version, Given> orders_;
  std::map<Version, Version> bases_;  // may come before their orders
};

}  // namespace sheaf::cluster
