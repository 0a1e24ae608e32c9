#include "common/config/section.h"
#include "server/consistency/bulk_synchronous.h"

namespace sheaf::server {
namespace {

// Bulk synchronous, and who waits computes the partitions of whoever is late (backup tasks: Dean,
// Ghemawat: MapReduce, OSDI 2004; when: 1.5 median tasks after the beginning, as Spark's
// speculation.multiplier). A push has the same bits whoever computes it, and counts once. Whoever
// was late is told the newest version, where its own is over.
class Speculate final : public BulkSynchronous {
 public:
  explicit Speculate(const config::Section& section) : after_(section.real("after", 0.5, {0})) {}

  std::optional<double> stand_in_after() const override { return after_; }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    if (clock < readable.oldest) return PullAnswer::now(readable.newest);
    return BulkSynchronous::answer(clock, readable);
  }

 private:
  double after_;
};

std::unique_ptr<Gate> make_speculate(const config::Section& section) {
  return std::make_unique<Speculate>(section);
}

}  // namespace

extern const Mode<Gate> gate_speculate = {
    "bsp whose idle workers compute the partitions of a late one, too; same bits on every run",
    &make_speculate};

}  // namespace sheaf::server
