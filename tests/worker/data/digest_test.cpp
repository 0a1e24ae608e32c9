#include "worker/data/digest.h"

#include <gmock/gmock.h>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::HasSubstr;

std::string digest_of(const std::string& path) {
  return data_digest(*make_source("csv", "path = \"" + path + "\""));
}

TEST(DigestTest, IsTheSha256OfItsDefinition) {
  // Count 1 and size 4, each as 8 bytes little-endian, then the content. Expected value from
  // printf '\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0a,b\n' | sha256sum
  const TempFolder folder;
  EXPECT_EQ(digest_of(folder.write("a.csv", "a,b\n")),
            "ff1cce2e531a4fa2ecd1945a2382cf16a838d6f4d16077c3b9fdaab6cdfa7bd9");
}

TEST(DigestTest, DoesNotDependOnTheFolder) {
  const TempFolder one;
  const TempFolder two;
  EXPECT_EQ(digest_of(one.write("a.csv", "1,2\n")), digest_of(two.write("b.csv", "1,2\n")));
}

TEST(DigestTest, FindsAChangeAtEitherEndAndInTheSize) {
  const TempFolder folder;
  const std::string content(1 << 20, '1');
  const std::string same = digest_of(folder.write("a", content));
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{65535}, content.size() - 65536, content.size() - 1}) {
    std::string other = content;
    other[at] = '2';
    EXPECT_NE(digest_of(folder.write("b", other)), same) << at;
  }
  EXPECT_NE(digest_of(folder.write("b", content + '1')), same);
  EXPECT_EQ(digest_of(folder.write("b", content)), same);
}

TEST(DigestTest, ReadsEachByteOfASmallFile) {
  const TempFolder folder;
  const std::string content(100000, '1');  // the two ends overlap
  const std::string same = digest_of(folder.write("a", content));
  for (std::size_t at = 0; at < content.size(); at += 9999) {
    std::string other = content;
    other[at] = '2';
    EXPECT_NE(digest_of(folder.write("b", other)), same) << at;
  }
}

TEST(DigestTest, AMissingFileIsADataFault) {
  EXPECT_THAT(data_fault([] { digest_of("/nowhere/a.csv"); }),
              HasSubstr("/nowhere/a.csv: cannot be opened: No such file"));
}

TEST(DigestTest, OfASourceWithoutFilesIsConstant) {
  const std::string sum = data_digest(*make_source("synthetic_sum", "examples = 1"));
  EXPECT_EQ(sum.size(), 64U);
  EXPECT_EQ(sum, data_digest(*make_source("synthetic_sum", "examples = 2")));
}

}  // namespace
}  // namespace sheaf::worker
