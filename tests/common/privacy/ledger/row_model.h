// A second reading of a ledger, by the words of FORMAT.md alone: which releases its lines stand
// for.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>

namespace sheaf::privacy {

class RowModel {
 public:
  // Whole lines only: what a crash has torn is none.
  explicit RowModel(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line) && !lines.eof();) {
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (row.is_discarded()) break;
      if (row.contains("terms")) {
        const auto& terms = row["terms"];
        secret_ = terms["sampling_secret"];
        like_ = terms["noise"].dump() + " ";
      }
      const std::uint64_t step = row.contains("open")   ? row["open"].get<std::uint64_t>()
                                 : row.contains("done") ? row["done"].get<std::uint64_t>()
                                                        : 0;
      Charge& charge = charges_[{row.value("partition", 0U), secret_, step}];
      if (row.contains("open")) ++charge.opened;
      if (row.contains("done")) {
        ++charge.done;
        charge.digests.insert(like_ + row["digest"].get<std::string>());
      }
    }
  }

  std::uint64_t releases(std::uint32_t partition, std::uint64_t step) const {
    std::uint64_t total = 0;
    for (const auto& [key, charge] : charges_) {
      if (std::get<0>(key) == partition && std::get<2>(key) == step) total += charge.count();
    }
    return total;
  }
  std::uint64_t releases(std::uint32_t partition) const {
    std::uint64_t total = 0;
    for (const auto& [key, charge] : charges_) {
      if (std::get<0>(key) == partition) total += charge.count();
    }
    return total;
  }

 private:
  struct Charge {
    std::uint64_t opened = 0, done = 0;
    std::set<std::string> digests;  // behind their noise
    std::uint64_t count() const { return opened - done + digests.size(); }
  };
  std::string secret_, like_;  // of the terms in force
  std::map<std::tuple<std::uint32_t, std::string, std::uint64_t>, Charge> charges_;
};

}  // namespace sheaf::privacy
