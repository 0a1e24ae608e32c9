#include <gmock/gmock.h>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CsvTest : public testing::Test {
 protected:
  ConfiguredSource open(std::string_view content, const std::string& more = {}) const {
    return make_source("csv", "path = \"" + folder_.write("prices.csv", content) + "\"\n" + more);
  }
  std::vector<std::vector<float>> rows(std::string_view content,
                                       const std::string& more = {}) const {
    const auto source = open(content, more);
    const Examples examples = read_all(*source);
    EXPECT_EQ(source->rows(SourcePart::train), examples.size());
    return rows_of(examples);
  }
  // What reading everything throws, from the file's name on.
  std::string fault(std::string_view content, const std::string& more = {}) const {
    const std::string text = data_fault([&] { rows(content, more); });
    const auto name = text.find("prices.csv");
    return name == std::string::npos ? text : text.substr(name);
  }

  TempFolder folder_;
};

TEST_F(CsvTest, TheLastColumnIsTheTarget) {
  EXPECT_THAT(rows("a,b,y\n1,2,3\n4,5.5,-6e1\n"),
              ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4, 5.5, -60)));
  EXPECT_EQ(open("a,b,y\n1,2,3\n")->schema(), (Schema{2, 1}));
}

TEST_F(CsvTest, TargetsAreNamedOrNumberedFromZero) {
  const std::string content = "a,b,c\n1,2,3\n";
  EXPECT_THAT(rows(content, "targets = [\"a\"]"), ElementsAre(ElementsAre(2, 3, 1)));
  EXPECT_THAT(rows(content, "targets = [\"c\", \"a\"]"), ElementsAre(ElementsAre(2, 3, 1)));
  EXPECT_THAT(rows(content, "targets = [\"1\"]"), ElementsAre(ElementsAre(1, 3, 2)));
  EXPECT_THAT(rows("1,2,3\n", "targets = [\"0\"]"), ElementsAre(ElementsAre(2, 3, 1)));
}

TEST_F(CsvTest, AFirstLineOfNumbersIsARow) {
  EXPECT_THAT(rows("1,2\n3,4\n"), ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4)));
  EXPECT_THAT(rows("2019,2020\n3,4\n", "header = \"yes\""), ElementsAre(ElementsAre(3, 4)));
  EXPECT_THAT(fault("a,b\n3,4\n", "header = \"no\""), HasSubstr("prices.csv:1:1: found \"a\""));
}

TEST_F(CsvTest, CommonWaysToWriteARowAreRead) {
  const auto expected = ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4));
  EXPECT_THAT(rows("a,b\r\n1,2\r\n3,4\r\n"), expected);                // CRLF
  EXPECT_THAT(rows("a,b\n1,2\n3,4"), expected);                        // no end of line
  EXPECT_THAT(rows("a,b\n1,2\n3,4\n\n\r\n"), expected);                // empty lines at the end
  EXPECT_THAT(rows("\"a\",\"b\"\n\"1\",\"2\"\n3,\"4\"\n"), expected);  // quotes
  EXPECT_THAT(rows("a,b\n 1 ,\t2\n+3, \"4\" \n"), expected);           // spaces, plus
  EXPECT_THAT(rows("\xEF\xBB\xBF"
                   "a,b\n1,2\n3,4\n"),
              expected);  // byte order mark
  EXPECT_THAT(rows("a;b\n1;2\n3;4\n", "delimiter = \";\""), expected);
  EXPECT_THAT(rows("a\tb\n1\t2\n3\t4\n", "delimiter = \"\\t\""), expected);
  EXPECT_THAT(rows(gzip("a,b\n1,2\n3,4\n")), expected);
}

TEST_F(CsvTest, AQuotedNameMayHoldDelimiterAndQuotes) {
  EXPECT_THAT(rows("\"a, \"\"b\"\"\",c\n1,2\n", "targets = ['a, \"b\"']"),
              ElementsAre(ElementsAre(2, 1)));
}

TEST_F(CsvTest, NumbersAreFloatsAndTinyOnesZero) {
  EXPECT_THAT(rows("0.1,1e-60\n1e-400,3.4e38\n"),
              ElementsAre(ElementsAre(0.1F, 0), ElementsAre(0, 3.4e38F)));
}

TEST_F(CsvTest, ABadCellIsNamedByFileLineAndColumn) {
  EXPECT_EQ(fault("a,b,y\n1,2,3\n4,abc,6\n"),
            "prices.csv:3:2: column \"b\": found \"abc\", expected a number");
  EXPECT_EQ(fault("1,2,3\n4,5,6x\n"), "prices.csv:2:3: found \"6x\", expected a number");
  EXPECT_EQ(fault("a,b,y\n1,,3\n"),
            "prices.csv:2:2: column \"b\": found an empty cell, expected a number");
  EXPECT_EQ(fault("a,b,y\n1,2,nan\n"),
            "prices.csv:2:3: column \"y\": found \"nan\", expected a finite 32-bit number");
  EXPECT_THAT(fault("a,b,y\n1,-inf,3\n"),
              HasSubstr("prices.csv:2:2: column \"b\": found \"-inf\""));
  EXPECT_THAT(fault("1,1e39\n"), HasSubstr("prices.csv:1:2: found \"1e39\""));
  EXPECT_THAT(fault("1,1e999\n"), HasSubstr("prices.csv:1:2: found \"1e999\""));
  EXPECT_THAT(fault("1,+-2\n", "header = \"no\""), HasSubstr("prices.csv:1:2: found \"+-2\""));
  EXPECT_THAT(fault("a,b\n1,0x10\n"), HasSubstr("prices.csv:2:2"));
}

TEST_F(CsvTest, ANaNInTheFirstLineIsNoHeader) {
  EXPECT_THAT(fault("nan,1\n2,3\n"), HasSubstr("prices.csv:1:1: found \"nan\""));
}

TEST_F(CsvTest, AFirstLineOfTextAndNumbersIsNotGuessed) {
  EXPECT_THAT(fault("1,oops,3\n4,5,6\n"),
              AllOf(HasSubstr("prices.csv:1:2: found \"oops\" in a first line with numbers"),
                    HasSubstr("data.header = \"yes\"")));
}

TEST_F(CsvTest, ARaggedRowIsRefused) {
  EXPECT_EQ(fault("1,2,3\n4,5\n"),
            "prices.csv:2:3: found 2 cells, expected 3 as in the first line");
  EXPECT_EQ(fault("1,2,3\n4,5,6,7\n"),
            "prices.csv:2:4: found 4 cells, expected 3 as in the first line");
}

TEST_F(CsvTest, AnEmptyLineBetweenRowsIsRefused) {
  EXPECT_EQ(fault("1,2\n\n3,4\n"), "prices.csv:2: found an empty line, expected a row; remove it");
}

TEST_F(CsvTest, QuotesThatDoNotFitAreRefused) {
  EXPECT_THAT(fault("a,b\n1,\"2\n"), HasSubstr("prices.csv:2:2: found a quote that is not closed"));
  EXPECT_THAT(fault("a,b\n\"1\"x,2\n"), HasSubstr("prices.csv:2:1: found text behind a closing"));
}

TEST_F(CsvTest, EmptyDataIsRefused) {
  EXPECT_THAT(fault(""), HasSubstr("prices.csv: the file is empty"));
  EXPECT_THAT(fault("\n\n"), HasSubstr("prices.csv: the file is empty"));
  EXPECT_THAT(data_fault([this] { open("a,b\n")->rows(SourcePart::train); }),
              HasSubstr("prices.csv: found no rows"));
}

TEST_F(CsvTest, AMissingFileIsNamed) {
  EXPECT_THAT(data_fault([] { make_source("csv", "path = \"/no/a.csv\"")->schema(); }),
              HasSubstr("/no/a.csv: cannot be opened: No such file or directory"));
}

TEST_F(CsvTest, TargetsThatDoNotFitAreRefused) {
  EXPECT_THAT(
      fault("a,b\n1,2\n", "targets = [\"price\"]"),
      HasSubstr("prices.csv:1: found no column \"price\" for data.targets, expected a, b or "
                "a number from 0 to 1"));
  EXPECT_THAT(fault("1,2\n", "targets = [\"2\"]"), HasSubstr("found no column \"2\""));
  EXPECT_THAT(fault("a,b\n1,2\n", "targets = [\"b\", \"1\"]"), HasSubstr("named twice"));
  EXPECT_THAT(fault("a;b\n1;2\n"), HasSubstr("found 1 columns, all of them targets"));
}

TEST_F(CsvTest, LocateNamesTheLine) {
  const auto source = open("a,b\n1,2\n3,4\n");
  source->schema();
  EXPECT_EQ(source->locate(SourcePart::train, 1), (folder_ / "prices.csv") + ":3");
  const auto bare = open("1,2\n3,4\n");
  bare->schema();
  EXPECT_EQ(bare->locate(SourcePart::train, 1), (folder_ / "prices.csv") + ":2");
}

TEST_F(CsvTest, ATestFileHasTheSameColumns) {
  const auto with_test = [this](std::string_view content) {
    return open("a,b\n1,2\n", "test_path = \"" + folder_.write("test.csv", content) + "\"");
  };
  EXPECT_THAT(rows_of(read_all(*with_test("a,b\n5,6\n7,8\n"), SourcePart::test)),
              ElementsAre(ElementsAre(5, 6), ElementsAre(7, 8)));
  EXPECT_THAT(data_fault([&] { with_test("a,c\n5,6\n")->rows(SourcePart::test); }),
              AllOf(HasSubstr("test.csv:1: found 2 columns (a, c)"), HasSubstr("(a, b)")));
  EXPECT_THAT(data_fault([&] { with_test("5,6\n")->rows(SourcePart::test); }),
              HasSubstr("without a header"));
}

TEST_F(CsvTest, ALineLongerThanTheBufferIsRead) {
  // 200 000 columns: about 1.3 MB a line.
  std::string line = "0";
  for (int i = 1; i < 200000; ++i) line.append(1, ',').append(std::to_string(i));
  const auto all = rows(line + "\n" + line + "\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0].size(), 200000U);
  EXPECT_EQ(all[1][199999], 199999.0F);
}

TEST_F(CsvTest, ConfigFaultsAreFoundWithoutFiles) {
  EXPECT_THAT(config_faults("csv", ""), ElementsAre(HasSubstr("data.path")));
  EXPECT_THAT(config_faults("csv", "path = \"a\"\nheader = \"maybe\""),
              ElementsAre(HasSubstr("data.header")));
  EXPECT_THAT(config_faults("csv", "path = \"a\"\ndelimiter = \", \""),
              ElementsAre(HasSubstr("data.delimiter")));
  EXPECT_THAT(config_faults("csv", "path = \"a\"\ndelimiter = \".\""),
              ElementsAre(HasSubstr("data.delimiter")));
  EXPECT_THAT(config_faults("csv", "path = \"a\"\ndelimeter = \";\""),
              ElementsAre(HasSubstr("delimiter")));
  EXPECT_THAT(config_faults("csv", "path = \"a\""), IsEmpty());
}

}  // namespace
}  // namespace sheaf::worker
