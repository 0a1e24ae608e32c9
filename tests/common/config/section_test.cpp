#include "common/config/section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"

namespace sheaf::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::array<std::string_view, 3> kWords = {"adam", "momentum", "sgd"};

std::unique_ptr<Document> parse(std::string_view text, std::vector<std::string> overrides = {}) {
  return Document::from_text(text, "job.toml", overrides);
}

// Asks for one key of each kind, all with a default, in [t]; gives the faults.
std::vector<std::string> read_all_kinds(std::string_view text,
                                        std::vector<std::string> overrides = {}) {
  const auto document = parse(text, std::move(overrides));
  const Section t = document->root().table("t");
  t.integer("integer", 1, {1, 10});
  t.real("real", 0.5, {kAboveZero, 1});
  t.boolean("boolean", false);
  t.text("text", "");
  t.word("word", kWords, "sgd");
  t.duration("duration", 1s, {100, 60'000});
  t.reals("reals", std::vector<double>{});
  t.texts("texts", std::vector<std::string>{});
  t.table("table");
  t.tables("tables", false);
  document->reject_unknown();
  return document->faults();
}

TEST(SectionTest, ValuesOfEveryTypeAreRead) {
  const auto document = parse(R"([t]
integer = -3
real = 2
boolean = true
text = "a b"
word = "adam"
duration = "250ms"
reals = [1, 2.5]
texts = ["x", "y"]
[t.table]
inner = 1
[[t.tables]]
inner = 2
[[t.tables]]
inner = 3
)");
  const Section t = document->root().table("t");
  EXPECT_EQ(t.integer("integer", std::nullopt), -3);
  EXPECT_EQ(t.real("real", std::nullopt), 2.0);
  EXPECT_TRUE(t.boolean("boolean", std::nullopt));
  EXPECT_EQ(t.text("text", std::nullopt), "a b");
  EXPECT_EQ(t.word("word", kWords, std::nullopt), "adam");
  EXPECT_EQ(t.duration("duration", std::nullopt), 250ms);
  EXPECT_THAT(t.reals("reals", std::nullopt), ElementsAre(1.0, 2.5));
  EXPECT_THAT(t.texts("texts", std::nullopt), ElementsAre("x", "y"));
  EXPECT_EQ(t.table("table").integer("inner", std::nullopt), 1);
  const auto tables = t.tables("tables", true);
  ASSERT_THAT(tables, SizeIs(2));
  EXPECT_EQ(tables[0].integer("inner", std::nullopt), 2);
  EXPECT_EQ(tables[1].integer("inner", std::nullopt), 3);
  EXPECT_EQ(tables[1].path(), "t.tables[1]");
  document->reject_unknown();
  EXPECT_THAT(document->faults(), IsEmpty());
}

TEST(SectionTest, DefaultsStandInForWhatIsMissing) {
  EXPECT_THAT(read_all_kinds(""), IsEmpty());
  const auto document = parse("");
  EXPECT_EQ(document->root().integer("a", 7), 7);
  EXPECT_EQ(document->root().duration("b", 3s), 3s);
  EXPECT_FALSE(document->root().has("a"));
}

TEST(SectionTest, MissingKeysStandAtTheirTable) {
  const auto document = parse("x = 1\n  [t]\na = 1\n");
  document->root().integer("x", 0);
  document->root().table("t").integer("a", 0);
  document->root().table("t").text("b", std::nullopt);
  document->root().table("u").boolean("c", std::nullopt);
  document->root().tables("layers", true);
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:1:1: u.c: found nothing, expected true or false",
                          "job.toml:1:1: layers: found nothing, expected a list of tables",
                          "job.toml:2:3: t.b: found nothing, expected a string"));
}

// Any type where any other is expected is one fault at its key, and never an exception.
TEST(SectionTest, WrongTypesAreOneFaultEach) {
  const std::vector<std::string> keys = {"integer",  "real",  "boolean", "text",  "word",
                                         "duration", "reals", "texts",   "table", "tables"};
  const std::vector<std::string> values = {"-9223372036854775808",
                                           "9223372036854775807",
                                           "0.25",
                                           "inf",
                                           "nan",
                                           "true",
                                           "\"7 x\"",
                                           "[[1]]",
                                           "[{}]",
                                           "1979-05-27",
                                           "07:32:00",
                                           "{}"};
  int accepted = 0;
  for (const std::string& key : keys) {
    for (const std::string& value : values) {
      const auto faults = read_all_kinds("[t]\n " + key + " = " + value + "\n");
      accepted += faults.empty() ? 1 : 0;
      EXPECT_LE(faults.size(), 1U) << key << " = " << value;
      for (const auto& fault : faults) {
        EXPECT_THAT(fault, testing::StartsWith("job.toml:2:"));
        EXPECT_THAT(fault, testing::AllOf(HasSubstr("found "), HasSubstr(", expected ")));
        EXPECT_EQ(fault.find('\n'), std::string::npos);
      }
    }
  }
  // real = 0.25, boolean = true, text = "7 x", table = {}, tables = [{}]
  EXPECT_EQ(accepted, 5);
}

TEST(SectionTest, ATableOfWhichNothingIsAskedHoldsNothing) {
  EXPECT_THAT(read_all_kinds("[t]\ntable = { a = 1 }\n"),
              ElementsAre("job.toml:2:11: t.table.a: found an unknown key, expected no key here"));
}

TEST(SectionTest, FaultsSayWhatWasFoundAndExpectedAndMayBeMeant) {
  EXPECT_THAT(
      read_all_kinds(R"([t]
integer = "2"
real = 0
boolean = "true"
text = 7
word = "admam"
duration = 5
reals = [1, "x"]
texts = "one"
table = "none"
tables = [1]
)"),
      ElementsAre(
          R"(job.toml:2:1: t.integer: found "2" (a string), expected an integer from 1 to 10, try 2)",
          R"(job.toml:3:1: t.real: found 0, expected a number above 0 and of at most 1)",
          R"(job.toml:4:1: t.boolean: found "true" (a string), expected true or false, try true)",
          R"(job.toml:5:1: t.text: found 7 (an integer), expected a string, try "7")",
          R"(job.toml:6:1: t.word: found "admam", expected one of "adam", "momentum", "sgd", try "adam")",
          R"(job.toml:7:1: t.duration: found 5 (an integer), expected a duration such as "250ms", "30s", "5m" or "2h" from 100ms to 1m, try "5s")",
          R"(job.toml:8:13: t.reals[1]: found "x" (a string), expected a number)",
          R"(job.toml:9:1: t.texts: found "one" (a string), expected a list of strings, try ["one"])",
          R"(job.toml:10:1: t.table: found "none" (a string), expected a table, try { kind = "none" })",
          R"(job.toml:11:11: t.tables[0]: found 1 (an integer), expected a table)"));
}

TEST(SectionTest, OutOfBoundsNamesTheBounds) {
  EXPECT_THAT(read_all_kinds("[t]\ninteger = 11\nreal = 1.5\nduration = \"2m\"\n"),
              ElementsAre("job.toml:2:1: t.integer: found 11, expected an integer from 1 to 10, "
                          "try 10",
                          "job.toml:3:1: t.real: found 1.5, expected a number above 0 and of at "
                          "most 1, try 1",
                          "job.toml:4:1: t.duration: found \"2m\", expected a duration such as "
                          "\"250ms\", \"30s\", \"5m\" or \"2h\" from 100ms to 1m, try \"1m\""));
}

TEST(SectionTest, LongAndUglyStringsStayOnOneLine) {
  const auto faults = read_all_kinds("[t]\ninteger = \"" + std::string(300, 'x') + "\\n\"\n");
  ASSERT_THAT(faults, SizeIs(1));
  EXPECT_LT(faults[0].size(), 200U);
}

TEST(SectionTest, FaultsOfOwnersStayOnOneLineToo) {
  const auto document = parse("a = 3\n");
  document->root().fault("a", "\"x\ny\x1b\"", "less");
  EXPECT_THAT(document->faults(),
              ElementsAre(R"(job.toml:1:1: a: found "x\ny\x1b", expected less)"));
}

TEST(SectionTest, UnknownKeysGetTheNearestKeyOfTheirTable) {
  const auto faults = read_all_kinds("[t]\nintger = 3\n[tt]\nx = 1\n[other]\n");
  EXPECT_THAT(faults,
              ElementsAre("job.toml:2:1: t.intger: found an unknown key, expected integer, real, "
                          "boolean, text, word, duration, reals, texts, table, tables, try integer",
                          "job.toml:3:2: tt: found an unknown table, expected t, try t",
                          "job.toml:5:2: other: found an unknown table, expected t"));
}

TEST(SectionTest, AKeyInTheWrongTableIsSentHome) {
  const auto document = parse("[run]\nbatch = 3\nunits = 4\n[data]\n");
  document->root().table("run").integer("workers", 1);
  document->root().table("data").integer("batch", std::nullopt);
  document->reject_unknown();
  // That data.batch is missing is the same mistake, and said once.
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:2:1: run.batch: found an unknown key, expected workers, try "
                          "moving it: it belongs under [data]",
                          "job.toml:3:1: run.units: found an unknown key, expected workers"));
}

TEST(SectionTest, AMisspeltRequiredKeyIsOneFault) {
  const auto document = parse("[run]\nworkrs = 3\n[optimiser]\nrate = 0.1\n");
  document->root().table("run").integer("workers", std::nullopt);
  document->root().table("optimizer").real("rate", std::nullopt);
  document->reject_unknown();
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:2:1: run.workrs: found an unknown key, expected workers, try "
                          "workers",
                          "job.toml:3:2: optimiser: found an unknown table, expected run, "
                          "optimizer, try optimizer"));
}

TEST(SectionTest, KeysOfAnUnknownKindAreNotJudged) {
  const auto document = parse("kind = \"xyz\"\nunits = 3\nnme = \"a\"\n");
  document->root().word("kind", kWords, std::nullopt);
  document->root().text("name", "");
  document->reject_unknown();
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:1:1: kind: found \"xyz\", expected one of \"adam\", "
                          "\"momentum\", \"sgd\"",
                          "job.toml:3:1: nme: found an unknown key, expected kind, name, try "
                          "name"));
}

TEST(SectionTest, ANearModeStandsInForAMisspeltOne) {
  const auto document = parse("a = \"adma\"\nb = \"xyz\"\nc = 3\n");
  EXPECT_EQ(document->root().mode("a", kWords, std::nullopt), "adam");
  EXPECT_EQ(document->root().mode("b", kWords, "sgd"), "");
  EXPECT_EQ(document->root().mode("c", kWords, std::nullopt), "");
  EXPECT_EQ(document->root().mode("d", kWords, "sgd"), "sgd");
  EXPECT_THAT(document->faults(), SizeIs(3));
}

TEST(SectionTest, WrongTypesHideWhatTheyWouldHold) {
  const auto document = parse("compression = 3\n");
  document->root().table("compression").table("push").text("kind", std::nullopt);
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:1:1: compression: found 3 (an integer), expected a table"));
}

TEST(SectionTest, FaultsComeInTheOrderOfTheFileAndOnce) {
  const auto document = parse("b = 1\na = \"x\"\n");
  for (int i = 0; i < 2; ++i) {
    document->root().integer("a", 0);
    document->root().text("b", "");
  }
  document->reject_unknown();
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:1:1: b: found 1 (an integer), expected a string, try \"1\"",
                          "job.toml:2:1: a: found \"x\" (a string), expected an integer"));
}

TEST(SectionTest, OwnersCanAddFaults) {
  const auto document = parse("[t]\na = 3\n");
  const Section t = document->root().table("t");
  EXPECT_TRUE(t.sound("a"));
  t.fault("a", "3", "an even number", "4");
  t.fault("b", "nothing", "something");
  t.fault("", "a strange table", "another");
  EXPECT_FALSE(t.sound("a"));
  EXPECT_THAT(document->faults(),
              ElementsAre("job.toml:1:1: t.b: found nothing, expected something",
                          "job.toml:1:2: t: found a strange table, expected another",
                          "job.toml:2:1: t.a: found 3, expected an even number, try 4"));
}

TEST(SectionTest, QuotedKeysDoNotBreakTheLine) {
  const auto faults = read_all_kinds("[t]\n\"a\\nb\" = 1\n\"\" = 2\n\"x.y[0]\" = 3\n");
  EXPECT_THAT(faults, SizeIs(3));
  for (const auto& fault : faults) EXPECT_EQ(fault.find('\n'), std::string::npos) << fault;
}

TEST(DocumentTest, ASyntaxErrorIsTheOnlyFault) {
  const auto document = parse("a = 1\nb = \n", {"c=1", "x[0]=1"});
  document->root().integer("d", std::nullopt);
  document->reject_unknown();
  ASSERT_THAT(document->faults(), SizeIs(1));
  EXPECT_THAT(document->faults()[0], testing::StartsWith("job.toml:2:"));
}

TEST(DocumentTest, AKeyTwiceIsASyntaxError) {
  EXPECT_THAT(parse("a = 1\na = 2\n")->faults(), ElementsAre(testing::StartsWith("job.toml:2:")));
}

TEST(DocumentTest, AnUnreadableFileIsAConfigFault) {
  const auto reason = [](const std::filesystem::path& file) -> std::string {
    try {
      Document(file, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      return error.message();
    }
    return "no error";
  };
  EXPECT_EQ(reason("/nowhere/job.toml"),
            "cannot read /nowhere/job.toml: No such file or directory");
  EXPECT_EQ(reason("/"), "cannot read /: Is a directory");
}

TEST(DocumentTest, AFileIsReadAndNamedAsGiven) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("sheaf_section_test_" + std::to_string(::getpid()) + ".toml");
  std::ofstream(file) << "a = 1\n";
  const Document document(file, {});
  std::filesystem::remove(file);
  EXPECT_THAT(document.faults(), IsEmpty());
}

TEST(DocumentTest, ThrowsAllFaultsOneALine) {
  const auto document = parse("a = 1\n");
  EXPECT_NO_THROW(document->throw_if_faulty());
  document->root().text("b", std::nullopt);
  document->reject_unknown();
  try {
    document->throw_if_faulty();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_EQ(error.message(),
              "job.toml:1:1: b: found nothing, expected a string\n"
              "job.toml:1:1: a: found an unknown key, expected b");
  }
}

TEST(OverrideTest, ValuesAreTomlElseStrings) {
  const auto document = parse(
      "[t]\ninteger = 1\n",
      {"t.integer=7", "t.text=/x/y z", "t.duration=5s", "t.reals=[1, 2]", "t.word=adam",
       "t.boolean=true", "t.empty=", "t.equals=a=b", "t.quoted=\"7\"", "t.lines=1\nt.evil=2"});
  const Section t = document->root().table("t");
  EXPECT_EQ(t.integer("integer", std::nullopt), 7);
  EXPECT_EQ(t.text("text", std::nullopt), "/x/y z");
  EXPECT_EQ(t.duration("duration", std::nullopt), 5s);
  EXPECT_THAT(t.reals("reals", std::nullopt), ElementsAre(1.0, 2.0));
  EXPECT_EQ(t.word("word", kWords, std::nullopt), "adam");
  EXPECT_TRUE(t.boolean("boolean", std::nullopt));
  EXPECT_EQ(t.text("empty", std::nullopt), "");
  EXPECT_EQ(t.text("equals", std::nullopt), "a=b");
  EXPECT_EQ(t.text("quoted", std::nullopt), "7");
  EXPECT_EQ(t.text("lines", std::nullopt), "1\nt.evil=2");
  EXPECT_FALSE(t.has("evil"));
  document->reject_unknown();
  EXPECT_THAT(document->faults(), IsEmpty());
}

TEST(OverrideTest, TablesAreMadeAndPlacesInArraysReached) {
  const auto document =
      parse("layers = [{ units = 1 }, { units = 2 }]\n",
            {"a.b.c=3", "layers[1].units=32", "layers[0]={ units = 8 }", "a.b.c=4"});
  EXPECT_EQ(document->root().table("a").table("b").integer("c", std::nullopt), 4);
  const auto layers = document->root().tables("layers", true);
  ASSERT_THAT(layers, SizeIs(2));
  EXPECT_EQ(layers[0].integer("units", std::nullopt), 8);
  EXPECT_EQ(layers[1].integer("units", std::nullopt), 32);
}

TEST(OverrideTest, FaultsOfAnOverrideSayOverrideAndComeLast) {
  EXPECT_THAT(read_all_kinds("[t]\ninteger = 1\nx = 1\n", {"t.intgr=3", "t.real=2", "t.integer=0"}),
              ElementsAre(HasSubstr("job.toml:3:1: t.x: found an unknown key"),
                          HasSubstr("override: t.intgr: found an unknown key"),
                          "override: t.real: found 2, expected a number above 0 and of at most 1, "
                          "try 1",
                          "override: t.integer: found 0, expected an integer from 1 to 10, try 1"));
}

TEST(OverrideTest, MalformedOverridesAreFaults) {
  EXPECT_THAT(
      read_all_kinds("[t]\ninteger = 1\ntables = [{}]\n",
                     {"t.integer", "=3", "t..a=1", "t.integer.x=1", "t.tables[1].a=1", "t[0]=1"}),
      ElementsAre(
          R"(override: found "t.integer", expected dotted.key=value, try optimizer.rate=0.01)",
          R"(override: found "=3", expected dotted.key=value, try optimizer.rate=0.01)",
          R"(override: found "t..a=1", expected dotted.key=value, try optimizer.rate=0.01)",
          "override: t.integer.x: found 1 (an integer) at t.integer, expected a table",
          "override: t.tables[1]: found place 1 in a list of length 1, expected a place below 1",
          "override: t[0]: found a table at t, expected a list"));
}

// --- what is written -----------------------------------------------------------------------------

std::string resolve(std::string_view text, std::vector<std::string> overrides = {},
                    std::vector<std::string_view> without = {}) {
  const auto document = parse(text, std::move(overrides));
  const Section root = document->root();
  root.text("title", "an \"odd\"\ttitle\n");
  const Section run = root.table("run");
  run.integer("workers", 2);
  run.real("rate", 0.1);
  run.duration("beat", 1500ms);
  run.boolean("same", true);
  run.reals("betas", std::vector<double>{0.9, 0.999});
  run.texts("words", std::vector<std::string>{"a", "b,\"c\""});
  root.table("compression").table("push").text("kind", "none");
  for (const Section& layer : root.tables("layers", false)) {
    layer.integer("units", std::nullopt);
    layer.table("init").text("kind", "he");
  }
  document->reject_unknown();
  EXPECT_THAT(document->faults(), IsEmpty());
  return document->resolved(without);
}

TEST(ResolvedTest, EveryDefaultIsWrittenAsToml) {
  EXPECT_EQ(resolve("layers = [{ units = 3 }]\n"), R"(title = "an \"odd\"\ttitle\n"

[run]
workers = 2
rate = 0.1
beat = "1500ms"
same = true
betas = [0.9, 0.999]
words = ["a", "b,\"c\""]

[compression.push]
kind = "none"

[[layers]]
units = 3

[layers.init]
kind = "he"
)");
}

TEST(ResolvedTest, ReadAgainItIsTheSameText) {
  for (const char* text : {"", "[run]\nrate = 3\nbeat = \"120s\"\n",
                           "layers = [{ units = 3 }, { units = 4, init = { kind = \"x\" } }]\n"}) {
    const std::string once = resolve(text);
    EXPECT_EQ(resolve(once), once);
  }
  const std::string once = resolve("", {"run.rate=1e-300", "run.beat=3600s"});
  EXPECT_EQ(resolve(once), once);
}

TEST(ResolvedTest, KeysAndTablesCanBeLeftOut) {
  const std::string text = resolve("", {}, {"run.rate", "compression"});
  EXPECT_EQ(text.find("rate"), std::string::npos);
  EXPECT_EQ(text.find("compression"), std::string::npos);
  EXPECT_NE(text.find("workers = 2"), std::string::npos);
}

TEST(ResolvedTest, AskedKeysHaveNoPlaces) {
  const auto document = parse("layers = [{ units = 3 }, { units = 4 }]\n");
  for (const Section& layer : document->root().tables("layers", true)) layer.integer("units", 0);
  document->root().table("run").has("steps");
  EXPECT_THAT(document->asked_keys(), ElementsAre("layers[].units", "run.steps"));
}

}  // namespace
}  // namespace sheaf::config
