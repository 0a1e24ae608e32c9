#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/config/run_config.h"
#include "tests/launcher/config/job_text.h"
#include "worker/models/layers/layer.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

// One mistake in a sound job (tests/launcher/job_text.h has its lines), and what is said of it.
struct Row {
  std::size_t line;  // replaced by `text`; 0 = none
  std::string text;
  std::string fault;  // without "job.toml:"
  std::vector<std::string> overrides = {};
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.line << ": " << row.text; }

constexpr std::string_view kRunKeys =
    "name, workers, servers, partitions, epochs, steps, seed, dir, deterministic, blas_threads";
constexpr std::string_view kTables =
    "run, data, model, optimizer, consistency, compression, privacy, network, checkpoint, "
    "recovery, timeouts, launch, metrics, scaling";
constexpr std::string_view kLayerKeys =
    "from, name, kind, units, activation, init, bias, rate_scale";
constexpr std::string_view kDuration = R"(a duration such as "250ms", "30s", "5m" or "2h")";

// The modes that exist: a new one does not change this test.
template <typename Family>
std::string words_of(ModeTable<Family> table) {
  std::string words;
  for (const auto& entry : table)
    words += (words.empty() ? "\"" : ", \"") + std::string(entry.name) + '"';
  return "one of " + words;
}

// The lines follow from the form of a fault and from configs/README.md.
const std::vector<Row> kRows = {
    Row{3, "workers = ", "3:11: Error while parsing key-value pair: expected value, saw '\\n'"},
    Row{3, "workers = 2\nworkers = 3",
        "4:11: Error while parsing key-value pair: cannot redefine existing integer 'workers'"},
    Row{3, "wrokers = 2",
        "3:1: run.wrokers: found an unknown key, expected " + std::string(kRunKeys) +
            ", try workers"},
    Row{3, "", "1:1: run.workers: found nothing, expected an integer from 1 to 4096"},
    Row{1, "[rnu]",
        "1:2: rnu: found an unknown table, expected " + std::string(kTables) + ", try run"},
    Row{13, "[optimiser]",
        "13:2: optimiser: found an unknown table, expected " + std::string(kTables) +
            ", try optimizer"},
    Row{15, "rate = 0.1\n[extra]\nx = 1",
        "16:2: extra: found an unknown table, expected " + std::string(kTables)},
    Row{4, "servers = 1\nbatch = 64",
        "5:1: run.batch: found an unknown key, expected " + std::string(kRunKeys) +
            ", try moving it: it belongs under [data]"},
    Row{0,
        "",
        "override: batch: found an unknown key, expected " + std::string(kTables) +
            ", try data.batch",
        {"batch=128"}},
    Row{0,
        "",
        "override: optimizer.units: found an unknown key, expected kind, rate, warmup_steps, "
        "falls_until, "
        "clip_norm, non_finite, decay, try model.layers[0].units",
        {"optimizer.units=3"}},
    Row{4, "servers = 1\nepoch = 3",
        "5:1: run.epoch: found an unknown key, expected " + std::string(kRunKeys) + ", try epochs"},
    Row{11, R"(los = "mse")",
        "11:1: model.los: found an unknown key, expected layers, loss, try loss"},
    Row{12, R"(layer = [{ kind = "dense", units = 1 }])",
        "12:1: model.layer: found an unknown key, expected layers, loss, try layers"},
    Row{12, R"(layers = [{ kind = "dense", unit = 1 }])",
        "12:29: model.layers[0].unit: found an unknown key, expected " + std::string(kLayerKeys) +
            ", try units"},
    Row{12, "[[model.layers]]\nkind = \"dense\"\nunits = 1\nbais = false",
        "15:1: model.layers[0].bais: found an unknown key, expected " + std::string(kLayerKeys) +
            ", try bias"},
    Row{3, R"(workers = "two")",
        R"(3:1: run.workers: found "two" (a string), expected an integer from 1 to 4096)"},
    Row{3, R"(workers = "2")",
        R"(3:1: run.workers: found "2" (a string), expected an integer from 1 to 4096, try 2)"},
    Row{3, "workers = 2.0",
        "3:1: run.workers: found 2.0 (a real number), expected an integer from 1 to 4096, try 2"},
    Row{4, "servers = [1]", "4:1: run.servers: found a list, expected an integer from 1 to 4096"},
    Row{2, "name = 7", R"(2:1: run.name: found 7 (an integer), expected a string, try "7")"},
    Row{15, R"(rate = "fast")",
        R"(15:1: optimizer.rate: found "fast" (a string), expected a number above 0)"},
    Row{15, "rate = 0.1\n[compression]\npush = \"none\"",
        R"(17:1: compression.push: found "none" (a string), expected a table, try { kind = "none" })"},
    Row{12, R"(layers = { kind = "dense", units = 1 })",
        "12:1: model.layers: found a table, expected a list of tables"},
    Row{12, "layers = []", "12:1: model.layers: found an empty list, expected a list of tables"},
    Row{12, R"(layers = ["dense"])",
        R"(12:11: model.layers[0]: found "dense" (a string), expected a table)"},
    Row{11, "loss = 3",
        "11:1: model.loss: found 3 (an integer), expected " + words_of(worker::losses())},
    Row{15, "rate = 0.1\n[launch]\nmpirun_args = \"--bind-to none\"",
        R"(17:1: launch.mpirun_args: found "--bind-to none" (a string), expected a list of strings, try ["--bind-to none"])"},
    Row{15, "rate = 0.1\n[launch]\nmpirun_args = [\"-x\", 3]",
        "17:22: launch.mpirun_args[1]: found 3 (an integer), expected a string"},
    Row{4, "servers = 1\ndeterministic = \"yes\"",
        R"(5:1: run.deterministic: found "yes" (a string), expected true or false)"},
    Row{3, "workers = 0", "3:1: run.workers: found 0, expected an integer from 1 to 4096, try 1"},
    Row{3, "workers = 5000",
        "3:1: run.workers: found 5000, expected an integer from 1 to 4096, try 4096"},
    Row{2, R"(name = "my job")",
        R"(2:1: run.name: found "my job", expected 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first)"},
    Row{4, "servers = 1\nseed = -1",
        "5:1: run.seed: found -1, expected an integer of at least 0, try 0"},
    Row{15, "rate = 0", "15:1: optimizer.rate: found 0, expected a number above 0"},
    Row{15, "rate = nan", "15:1: optimizer.rate: found nan, expected a number above 0"},
    Row{15, "rate = 0.1\nclip_norm = -1",
        "16:1: optimizer.clip_norm: found -1, expected a number above 0"},
    Row{9, "batch = 1001\nsampling = \"poisson\"",
        "9:1: data.batch: found 1001, expected with sampling = \"poisson\" at most the 1000 "
        "examples "
        "of the training part: each takes part with probability batch / examples"},
    Row{9,
        "batch = 64\nsampling = \"poisson\"",
        "10:1: data.sampling: found \"poisson\", expected \"shuffle\" with consistency.kind = "
        "\"local\": a round is cut into steps of equal size, try \"shuffle\"",
        {"consistency.kind=local", "consistency.steps=2", "consistency.inner.kind=sgd",
         "consistency.inner.rate=0.1"}},
    Row{9, "batch = 64\nvalidation = 1.0",
        "10:1: data.validation: found 1.0, expected a number of at least 0 and below 1"},
    Row{4, "servers = 1\npartitions = 1",
        "5:1: run.partitions: found 1, expected an integer of at least run.workers, try 2"},
    Row{9, "batch = 1",
        "9:1: data.batch: found 1, expected an integer of at least run.partitions, try 2"},
    Row{9, "batch = 64\nvalidation = 0.6\ntest = 0.5",
        "10:1: data.validation: found 0.6 and data.test = 0.5, expected a sum below 1, so that "
        "something is left to train on"},
    Row{9, "batch = 64\ntest_examples = 9\ntest = 0.5",
        "11:1: data.test: found 0.5, expected no such fraction: the data has a test set of its "
        "own"},
    Row{9, "batch = 64\nnormalise = \"unit\"",
        R"(10:1: data.normalise: found "unit" for inputs that are real numbers, not bytes, expected "none" or "standard", try "standard")"},
    Row{9, "batch = 64\nnormalise = \"standart\"",
        R"(10:1: data.normalise: found "standart", expected one of "none", "unit", "standard", try "standard")"},
    Row{15, "rate = 0.1\n[metrics]\nevery = 50",
        "17:1: metrics.every: found 50, expected an integer from 1 to 20, try 20"},
    Row{6, R"(kind = "synthetic_liner")",
        R"(6:1: data.kind: found "synthetic_liner", expected )" + words_of(worker::sources()) +
            R"(, try "synthetic_linear")"},
    Row{14, R"(kind = "sdg")",
        R"(14:1: optimizer.kind: found "sdg", expected )" + words_of(optimization::optimizers()) +
            R"(, try "sgd")"},
    Row{14, R"(kind = "xyz")",
        R"(14:1: optimizer.kind: found "xyz", expected )" + words_of(optimization::optimizers())},
    Row{14, "kind = \"sgd\"\nmomentum = 0.9",
        "15:1: optimizer.momentum: found an unknown key, expected kind, rate, warmup_steps, "
        "falls_until, "
        "clip_norm, non_finite, decay"},
    Row{11, R"(loss = "cross_entropy")",
        R"(11:1: model.loss: found "cross_entropy", expected )" + words_of(worker::losses()) +
            R"(, try "binary_cross_entropy")"},
    Row{12, R"(layers = [{ kind = "dens", units = 1 }])",
        R"(12:13: model.layers[0].kind: found "dens", expected )" + words_of(worker::layers()) +
            R"(, try "dense")"},
    Row{12, R"(layers = [{ kind = "dropout", rate = 1.0 }, { kind = "dense", units = 1 }])",
        "12:31: model.layers[0].rate: found 1.0, expected a number of at least 0 and below 1"},
    Row{15, "rate = 0.1\n[consistency]\nkind = \"bps\"",
        R"(17:1: consistency.kind: found "bps", expected )" + words_of(server::gates()) +
            R"(, try "bsp")"},
    Row{15, "rate = 0.1\n[consistency]\nkind = \"drop\"\nbackup = 2",
        R"(18:1: consistency.backup: found 2, expected an integer below run.partitions (2), try 1)"},
    Row{15, "rate = 0.1\nclip_norm = 2\n[consistency]\nkind = \"ssp\"",
        R"(16:1: optimizer.clip_norm: found 2, expected no clipping with consistency.kind = "ssp": a push is applied before its norm is known, try a lower optimizer.rate)"},
    Row{4, "servers = 1\ndeterministic = true\n[consistency]\nkind = \"asp\"",
        R"(5:1: run.deterministic: found true, expected false with consistency.kind = "asp": its bits depend on who comes first, try false)"},
    Row{15, "rate = 0.1\n[consistency]\nkind = \"ssp\"\nstaleness = -1",
        "18:1: consistency.staleness: found -1, expected an integer from 0 to 1000000, try 0"},
    Row{15, "rate = 0.1\n[consistency]\nstaleness = 3",
        "17:1: consistency.staleness: found an unknown key, expected kind, trace"},
    Row{15, "rate = 0.1\n[privacy]\nkind = \"xyz\"\nwidth = 1",
        R"(17:1: privacy.kind: found "xyz", expected )" + words_of(privacy::mechanisms())},
    Row{15, "rate = 0.1\n[compression]\npush = { kind = \"non\" }",
        R"(17:10: compression.push.kind: found "non", expected one of "auto", )" +
            words_of(compression::compressors()).substr(std::string_view("one of ").size()) +
            R"(, try "none")"},
    Row{15, "rate = 0.1\n[compression]\npull = { kind = \"topk\" }",
        R"(17:10: compression.pull.kind: found "topk", expected a compressor that keeps every value near itself, or feedback = "ef21p": without it parameters are sent whole, and what one version loses no other brings back, try "bf16")"},
    Row{15, "rate = 0.1\n[compression]\npull = { kind = \"randomk\", feedback = \"ef21p\" }",
        R"(17:28: compression.pull.feedback: found "ef21p", expected "none" with this "randomk": differences are sent by a compressor that always comes nearer, try "none")"},
    Row{15,
        "rate = 0.1\n[consistency]\nkind = \"ssp\"\n[compression]\npull = { kind = \"topk\", "
        "feedback = \"ef21p\" }",
        R"(19:25: compression.pull.feedback: found "ef21p", expected "none" with consistency.kind = "ssp": differences are between versions that all workers read, try "none")"},
    Row{15, "rate = 0.1\nwarmup_steps = 3\nfalls_until = 3",
        "17:1: optimizer.falls_until: found 3, expected 0, or a step behind the warm-up of 3, try "
        "30"},
    Row{15, "rate = 0.1\nnon_finite = \"skip\"\n[compression]\npush = { kind = \"int8\" }",
        R"(16:1: optimizer.non_finite: found "skip", expected "abort" or "reject" with compression.push.kind = "int8": what is not finite has no encoding, so no server would see it, try "reject")"},
    Row{15, "rate = 0.1\n[compression]\npush = { kind = \"topk\", values = 7 }",
        "17:25: compression.push.values: found 7, expected 32, 16, 8, 4 or 2 bits a value, try 8"},
    Row{15, "rate = 0.1\n[compression]\npush = { kind = \"int8\", block = 48 }",
        "17:25: compression.push.block: found 48, expected a power of two from 16 to 1024, try 32"},
    Row{15, "rate = 0.1\n[compression]\npush = { kind = \"sign\", ratio = 0.1 }",
        "17:25: compression.push.ratio: found an unknown key, expected kind, block, exempt_below, "
        "feedback, layers"},
    Row{15, "rate = 0.1\n[compression]\npush = { kind = \"randomk\", feedback = \"ef\" }",
        R"(17:28: compression.push.feedback: found "ef", expected "none" with this "randomk": its mean is right by itself, at the price of errors that feedback would pile up, try "none")"},
    Row{15,
        "rate = 0.1\n[compression]\npush = { kind = \"int8\", rounding = \"stochastic\", feedback "
        "= \"ef21\" }",
        R"(17:50: compression.push.feedback: found "ef21", expected "none" with this "int8": its mean is right by itself, at the price of errors that feedback would pile up, try "none")"},
    Row{15,
        "rate = 0.1\n[compression]\npush = { kind = \"topk\", values = 2, feedback = \"ef21\" }",
        R"(17:37: compression.push.feedback: found "ef21", expected "none" with this "topk": differences are sent by a compressor that always comes nearer, try "none")"},
    Row{15,
        "rate = 0.1\n[compression]\npush = { kind = \"topk\", feedback = \"ef21\", momentum = 1 }",
        "17:44: compression.push.momentum: found 1, expected a number of at least 0 and below 1"},
    Row{15,
        "rate = 0.1\n[compression]\npush = { kind = \"topk\", feedback = \"ef\", momentum = 0.5 }",
        "17:42: compression.push.momentum: found an unknown key, expected kind, ratio, values, "
        "exempt_below, feedback, layers"},
    Row{12, R"(layers = [{ kind = "dense", units = 3 }])",
        "11:1: model.loss: found 3 outputs of the last layer, expected 1, one for each target, try "
        "units = 1 in the last layer"},
    Row{11, R"(loss = "softmax_cross_entropy")",
        R"(11:1: model.loss: found 1 output of the last layer, expected a logit for each class, at least 2, try as many units in the last layer as there are classes, or "binary_cross_entropy")"},
    Row{15, "rate = 0.1\n[network]\nports = 20000",
        R"(17:1: network.ports: found 20000 (an integer), expected a string, try "20000")"},
    Row{15, "rate = 0.1\n[network]\nports = \"20100-20000\"",
        R"(17:1: network.ports: found "20100-20000", expected "0" for any free port, or a range of ports from 1 to 65535, try "20000-20100")"},
    Row{15, "rate = 0.1\n[network]\nencryption = \"ssl\"",
        R"(17:1: network.encryption: found "ssl", expected one of "auto", "none", "tls", try "tls")"},
    Row{15, "rate = 0.1\n[network]\ntransport = \"tpc\"",
        R"(17:1: network.transport: found "tpc", expected one of "auto", "tcp", "shm", try "tcp")"},
    Row{15, "rate = 0.1\n[timeouts]\nbeat = 5",
        "17:1: timeouts.beat: found 5 (an integer), expected " + std::string(kDuration) +
            R"( from 10ms to 24h, try "5s")"},
    Row{15, "rate = 0.1\n[timeouts]\nbeat = \"5 s\"",
        R"(17:1: timeouts.beat: found "5 s", expected )" + std::string(kDuration) +
            " from 10ms to 24h"},
    Row{15, "rate = 0.1\n[timeouts]\nbeat = \"20s\"",
        R"(17:1: timeouts.beat: found "20s", expected a duration below timeouts.suspect ("5s"))"},
    Row{15, "rate = 0.1\n[timeouts]\nsuspect = \"10s\"",
        R"(17:1: timeouts.suspect: found "10s", expected a duration below timeouts.dead ("10s"))"},
    Row{15, "rate = 0.1\n[timeouts]\ndeath = \"10s\"",
        "17:1: timeouts.death: found an unknown key, expected beat, dead, suspect, start, "
        "orphan_grace, try dead"},
    Row{15, "rate = 0.1\n[checkpoint]\nevery = \"1ms\"",
        R"(17:1: checkpoint.every: found "1ms", expected )" + std::string(kDuration) +
            R"( of at least 10ms, try "10ms")"},
    Row{15, "rate = 0.1\n[recovery]\nreplicas = 3",
        "17:1: recovery.replicas: found 3, expected an integer from 1 to 2, try 2"},
    Row{0,
        "",
        "override: run.workers: found 0, expected an integer from 1 to 4096, try 1",
        {"run.workers=0"}},
    Row{0,
        "",
        "override: run.wrokers: found an unknown key, expected " + std::string(kRunKeys) +
            ", try workers",
        {"run.wrokers=3"}},
    Row{0,
        "",
        R"(override: found "workers", expected dotted.key=value, try optimizer.rate=0.01)",
        {"workers"}},
    Row{0,
        "",
        "override: model.layers[3]: found place 3 in a list of length 1, expected a place below 1",
        {"model.layers[3].units=1"}},
    Row{0,
        "",
        R"(override: model.layers[0].units: found "x" (a string), expected an integer from 1 to 16777216)",
        {"model.layers[0].units=x"}},
    Row{0,
        "",
        R"(override: run.name.first: found "job" (a string) at run.name, expected a table)",
        {"run.name.first=x"}},
    Row{0,
        "",
        "override: timeouts.dead: found 5 (an integer), expected " + std::string(kDuration) +
            R"( from 10ms to 24h, try "5s")",
        {"timeouts.dead=5"}},
    Row{0,
        "",
        "override: data.batch: found 1, expected an integer of at least run.partitions, try 2",
        {"data.batch=1"}},
};

class BrokenConfigTest : public testing::TestWithParam<Row> {};

TEST_P(BrokenConfigTest, IsOneFaultWithItsPlaceAndARemedy) {
  const Row& row = GetParam();
  RunConfig config = RunConfig::from_text(job_with(row.line, row.text), "job.toml", row.overrides);
  const CheckResult result = config.check();
  const bool from_override = row.fault.starts_with("override:");
  EXPECT_THAT(result.faults,
              testing::ElementsAre(from_override ? row.fault : "job.toml:" + row.fault));
  EXPECT_EQ(result.kind, Fault::config);
}

INSTANTIATE_TEST_SUITE_P(Table, BrokenConfigTest, testing::ValuesIn(kRows));

}  // namespace
}  // namespace sheaf::launcher
