#include "common/base/error.h"

#include <gmock/gmock.h>

#include <new>
#include <stdexcept>

namespace sheaf {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

TEST(ErrorTest, CarriesItsFaultItsTextAndWhereItWasThrown) {
  try {
    fail(Fault::data, "row {}: found {}, expected a number", 17, "x");
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_EQ(error.message(), "row 17: found x, expected a number");
    EXPECT_STREQ(error.what(), "row 17: found x, expected a number");
    EXPECT_THAT(error.where().file_name(), EndsWith("error_test.cpp"));
    return;
  }
  FAIL() << "nothing was thrown";
}

TEST(ErrorTest, ABrokenInvariantNamesItself) {
  EXPECT_NO_THROW(check(true, "nothing"));
  try {
    check(false, "one is two");
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_THAT(error.message(), HasSubstr("invariant broken: one is two"));
    EXPECT_THAT(error.message(), HasSubstr("error_test.cpp"));
    return;
  }
  FAIL() << "nothing was thrown";
}

TEST(ErrorTest, EveryExceptionCanBeDescribed) {
  const auto description = [](auto exception) {
    return describe(std::make_exception_ptr(exception));
  };
  EXPECT_EQ(description(Error(Fault::auth, "no", {})), std::pair(Fault::auth, std::string("no")));
  EXPECT_EQ(description(std::runtime_error("odd")), std::pair(Fault::internal, std::string("odd")));
  EXPECT_EQ(description(std::bad_alloc()),
            std::pair(Fault::internal, std::string("out of memory")));
}

// `sheaf help exit-codes` and section 7 of the contract.
TEST(ErrorTest, FaultsAreTheExitCodes) {
  EXPECT_EQ(static_cast<int>(Fault::internal), 1);
  EXPECT_EQ(static_cast<int>(Fault::config), 2);
  EXPECT_EQ(static_cast<int>(Fault::data), 3);
  EXPECT_EQ(static_cast<int>(Fault::network), 4);
  EXPECT_EQ(static_cast<int>(Fault::checkpoint), 5);
  EXPECT_EQ(static_cast<int>(Fault::diverged), 6);
  EXPECT_EQ(static_cast<int>(Fault::privacy), 7);
  EXPECT_EQ(static_cast<int>(Fault::auth), 8);
  EXPECT_EQ(static_cast<int>(Fault::preempted), 75);
}

}  // namespace
}  // namespace sheaf
