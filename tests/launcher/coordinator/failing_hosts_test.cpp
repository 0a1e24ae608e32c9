// When a host gets no replacements, by a clock that the test sets; expected values are those that
// the header promises.
#include "launcher/coordinator/failing_hosts.h"

#include <gmock/gmock.h>

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TimePoint at(int t) { return TimePoint(seconds(t)); }

// Three losses within a minute.
class FailingHostsTest : public testing::Test {
 protected:
  FailingHosts hosts_{3, seconds(60)};
};

TEST_F(FailingHostsTest, AHostThatKeepsLosingProcessesIsSetAsideForAsLong) {
  EXPECT_FALSE(hosts_.on_loss("a", "n1", at(100)));
  EXPECT_FALSE(hosts_.on_loss("a", "n1", at(120)));
  EXPECT_FALSE(hosts_.is_aside("a", at(120)));
  EXPECT_TRUE(hosts_.on_loss("a", "n1", at(160)));
  EXPECT_TRUE(hosts_.is_aside("a", at(160)));
  EXPECT_THAT(hosts_.lines(at(180)),
              ElementsAre(HasSubstr("n1 gets no replacements for 40.0 s: it lost processes 3 times "
                                    "within 1 min 00 s")));
  EXPECT_TRUE(hosts_.is_aside("a", at(219)));
  EXPECT_FALSE(hosts_.is_aside("a", at(220)));
  EXPECT_THAT(hosts_.lines(at(220)), IsEmpty());
}

TEST_F(FailingHostsTest, LossesOfOtherHostsDoNotCount) {
  hosts_.on_loss("a", "n", at(0));
  hosts_.on_loss("b", "n", at(2));
  hosts_.on_loss("a", "n", at(4));
  EXPECT_FALSE(hosts_.is_aside("a", at(4)));
  EXPECT_FALSE(hosts_.is_aside("b", at(4)));
}

TEST_F(FailingHostsTest, LossesFarApartAreNoSeries) {
  for (const int t : {0, 31, 62, 93, 124}) EXPECT_FALSE(hosts_.on_loss("a", "n", at(t)));
}

TEST_F(FailingHostsTest, AllProcessesOfAHostAtOnceAreOneMisfortune) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(hosts_.on_loss("a", "n", at(0) + milliseconds(100 * i)));
  }
}

TEST_F(FailingHostsTest, WhoseTimeIsOverMayBeSetAsideAgain) {
  for (const int t : {0, 10, 20}) hosts_.on_loss("a", "n", at(t));
  EXPECT_FALSE(hosts_.is_aside("a", at(80)));
  EXPECT_FALSE(hosts_.on_loss("a", "n", at(100)));
  EXPECT_FALSE(hosts_.on_loss("a", "n", at(110)));
  EXPECT_TRUE(hosts_.on_loss("a", "n", at(120)));
}

}  // namespace
}  // namespace sheaf::launcher
