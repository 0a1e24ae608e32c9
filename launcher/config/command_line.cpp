#include "launcher/config/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>

#include "common/config/suggest.h"

namespace sheaf::launcher {
namespace {

// What help says of a command; its options come from the parser.
struct CommandText {
  std::string_view name;
  std::string_view usage;
  std::string_view summary;
  std::string_view examples;
  std::string_view more;
};

constexpr CommandText kSheaf = {
    "sheaf", "sheaf COMMAND …", "Trains models with parameter servers under MPI.",
    R"(  sheaf check configs/quickstart.toml              all faults of a job at once
  sheaf train configs/quickstart.toml              check, start, watch, report
  sheaf train job.toml run.workers=4 data.batch=256
  sheaf list optimizer                             what [optimizer] kind may be
  sheaf help exit-codes)",
    ""};

constexpr CommandText kCommands[] = {
    {"train",
     "sheaf train JOB.toml [key=value …] [options]\n"
     "       sheaf train --resume RUN [key=value …] [options]\n"
     "       sheaf train --attach RUN",
     "Checks a job, starts it under mpirun, watches it, reports.",
     R"(  sheaf train configs/quickstart.toml
  sheaf train job.toml run.workers=4 optimizer.rate=0.01 run.dir=/scratch/first
  sheaf train --resume runs/quickstart-20261122-114508
  sheaf train --attach runs/quickstart-20261122-114508
  sheaf train job.toml --print-launch              the mpirun line, to start it by hand)",
     "A job that loses a worker has another one in its place; one that loses a server goes on by\n"
     "itself from its newest checkpoint. If sheaf train itself is killed, the ranks wait for\n"
     "timeouts.orphan_grace: --attach takes them over, on the same host; then they save their "
     "step\n"
     "and end, and --resume goes on. What --print-launch prints starts a new job. The last line "
     "on\n"
     "stdout is the run directory."},
    {"rank", "sheaf rank JOB.toml [key=value …]", "Runs one rank of a job: what mpirun starts.",
     "  mpirun -n 4 sheaf rank configs/quickstart.toml   2 servers and 2 workers, servers first",
     "The number of ranks is run.servers + run.workers; any other is exit 2."},
    {"check", "sheaf check JOB.toml [key=value …]",
     "Finds all faults of a job at once and starts nothing.",
     R"(  sheaf check configs/quickstart.toml
  sheaf check job.toml run.workers=8)",
     "One fault a line on stderr, FILE:LINE:COL: key: found …, expected …, try …\n"
     "Exit 0 if there is none, 2 for faults of the job file, 3 for faults of its data."},
    {"list", "sheaf list [FAMILY]", "Lists the modes that a job file may name.",
     R"(  sheaf list
  sheaf list optimizer
  sheaf list layer | cut -f 2)",
     "One mode a line: family, name and description, separated by tabs."},
    {"bench",
     "sheaf bench step|scaling|recovery|consistency JOB.toml [key=value …] [--json]\n"
     "       sheaf bench exchange [options]\n"
     "       sheaf bench codec [KIND [key=value …]] [--json]",
     "Measures a part of Sheaf against its floor on this machine.",
     R"(  sheaf bench step configs/quickstart.toml         one training step, taken apart
  sheaf bench step job.toml data.batch=256 --json
  sheaf bench step job.toml run.servers=0          the same steps without a parameter server
  sheaf bench scaling configs/scenarios/scaling.toml launch.hostfile=hosts.txt
  sheaf bench recovery configs/quickstart.toml     kills ranks: how soon is the job back
  sheaf bench recovery job.toml --minutes 20       goodput over 20 losses
  sheaf bench consistency configs/quickstart.toml  every model, with a late worker
  sheaf bench exchange                             push and pull, against sockets and memory
  sheaf bench exchange --workers 2 --transport shm --json
  sheaf bench codec                                compressors: speed, bits, error
  sheaf bench codec topk ratio=0.001 values=8)",
     "Names: step, exchange, codec, scaling, recovery, consistency. The options but --json and\n"
     "--minutes belong to exchange, --repeat also to codec. Each figure is printed with what it\n"
     "means; run.servers=0 is for `bench step` alone. Scaling sweeps over the workers and servers\n"
     "of [scaling]: a table, and JSON and a page with curves in run.dir."},
    {"doctor", "sheaf doctor [JOB.toml [key=value …]] [options]",
     "Finds what would go wrong on the hosts of a job, before it does.",
     R"(  sheaf doctor                                     this host alone
  sheaf doctor job.toml                            also its data, disk, and all its hosts
  sheaf doctor job.toml launch.hostfile=hosts.txt --json)",
     "A finding a line: ok, warning or fault, what was found, and what to do. Reaches hosts as\n"
     "mpirun does (ssh, or plm_rsh_agent of launch.mpirun_args). Exit 0 without a fault, else 2\n"
     "for the job file and the hosts' files, 3 for data, 4 for hosts and network."},
    {"status", "sheaf status RUN [options]",
     "Says what runs, where, at which step, and who waits for whom.",
     R"(  sheaf status runs/quickstart-20261122-114508
  sheaf status runs/quickstart-20261122-114508 --json)",
     "A line for each process, and one for each server that waits: for whom, and since when. "
     "Needs\n"
     "to read RUN/control.json, so it is for the owner of the job. Exit 0, also if the job has\n"
     "ended; 2 if RUN is no run directory; 4 if its sheaf train is gone, does not answer, or is\n"
     "between two starts (ask again)."},
    {"scale", "sheaf scale RUN --workers N", "Gives a running job another number of workers.",
     R"(  sheaf scale runs/quickstart-20261122-114508 --workers 4)",
     "The job finishes its step, saves it, and goes on with N workers, at most run.partitions. In\n"
     "bsp and local the model keeps its bits. Another number of servers: stop it (Ctrl-C) and "
     "resume it "
     "with\n"
     "run.servers=N."},
    {"slurm", "sheaf slurm JOB.toml [key=value …]",
     "Writes a batch script that Slurm may preempt and requeue.",
     R"(  sheaf slurm job.toml > job.sbatch && sbatch --time=4:00:00 job.sbatch
  sheaf slurm job.toml run.workers=16 > job.sbatch && sbatch --nodes=4 job.sbatch)",
     "The script starts the job, or goes on from its newest checkpoint if there is one. Two "
     "minutes\n"
     "before its time limit the job saves its step and is requeued; preempted, it is requeued by\n"
     "Slurm where PreemptMode is REQUEUE. Program, job file, data and run directory must be "
     "visible\n"
     "on every node. Without a script, and so without restart or resume:\n"
     "srun --mpi=pmix -n RANKS sheaf rank job.toml, RANKS = run.servers + run.workers."},
    {"verify", "sheaf verify RUN [options]",
     "Reads every byte of the checkpoints in a run directory and compares the checksums. Where "
     "the\n"
     "job wrote traces (consistency.trace), checks that each read kept its bound and none was cut.",
     R"(  sheaf verify runs/quickstart-20261122-114508
  sheaf verify runs/quickstart-20261122-114508 --json)",
     "A line for each checkpoint, newest first: ok, or what is damaged: file, block, what was\n"
     "expected and what was found. Files of no checkpoint are named and are no damage.\n"
     "Exit 0 if nothing is damaged, 5 if anything is or there is none, 1 if a trace shows a bound\n"
     "that was broken or has been cut, 2 if RUN is no run directory."},
    {"privacy",
     "sheaf privacy ((--sampling-rate Q | --bands B --steps-between N) (--noise S | --epsilon E)\n"
     "                --steps T --delta D | --from RUN)",
     "Says what steps of private training cost, or how much noise keeps them to a budget, or what\n"
     "a ledger comes to.",
     R"(  sheaf privacy --sampling-rate 256/60000 --noise 1.1 --steps 14062 --delta 1e-5
  sheaf privacy --sampling-rate 256/60000 --epsilon 3 --steps 14062 --delta 1e-5 --json
  sheaf privacy --sampling-rate 0.01 --noise 1 --steps 4000 --delta 1e-5 --rdp
  sheaf privacy --bands 16 --steps-between 120 --epsilon 8 --steps 1200 --delta 1e-5
  sheaf privacy --from runs/private-20261126-114508 --json)",
     "Pure calculation: nothing is trained; a job is with [privacy] kind = \"gaussian\". Each\n"
     "step takes every example, or user, with probability Q, independently (Poisson sampling,\n"
     "not shuffling), clips what each contributes to a norm, and adds normal noise of S times\n"
     "that norm to the sum. With --bands, as with kind = \"correlated\", steps share noise, and\n"
     "every example is in each N-th of them. One figure a line, name and value separated by a tab; "
     "error bounds\n"
     "how far epsilon may be from the exact value. docs/privacy.md says what the figures mean."},
    {"audit", "sheaf audit JOB.toml [key=value …] [options]",
     "Trains a private job once, on canaries, and measures how well they are hidden.",
     R"(  sheaf audit configs/modes/mechanism_gaussian.toml
  sheaf audit job.toml run.epochs=5 --json
  sheaf audit job.toml --canaries 200000           closer bounds, for small epsilons)",
     "One figure a line, name and value separated by a tab: upper is epsilon by the accountant,\n"
     "lower what the releases of the run prove, with that confidence. Ranks are threads of this\n"
     "process; nothing is kept. Exit 0 if no lower bound lies above upper, 1 if one does: then "
     "less\n"
     "is protected than is accounted for. docs/privacy.md says what an audit shows."},
    {"help", "sheaf help [TOPIC]", "Explains a command, or the exit codes.",
     R"(  sheaf help train
  sheaf help exit-codes)",
     ""},
};

const CommandText& text_of(const CLI::App* app) {
  for (const CommandText& text : kCommands) {
    if (text.name == app->get_name()) return text;
  }
  return kSheaf;
}

// Help with the examples first. Positional arguments stand in the usage line.
class HelpFormatter final : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(20); }
  std::string make_description(const CLI::App* app) const override {
    const CommandText& text = text_of(app);
    const std::string more = text.more.empty() ? "" : fmt::format("\n{}\n", text.more);
    return fmt::format("{}\n\nExamples:\n{}\n{}\n", text.summary, text.examples, more);
  }
  std::string make_usage(const CLI::App* app, std::string) const override {
    return fmt::format("Usage: {}\n", text_of(app).usage);
  }
  std::string make_positionals(const CLI::App*) const override { return {}; }
};

constexpr std::string_view kExitCodes = R"(Exit codes of every sheaf command:
  0    ok
  1    internal error: please report it
  2    usage or config: the command line or the job file is wrong
  3    data: missing, damaged, or not what the job file says
  4    peers or network lost
  5    no valid checkpoint, or a damaged one: sheaf verify says which
  6    diverged: a loss or gradient is not finite
  7    privacy budget spent: the model so far is kept
  8    authentication refused
  75   preempted, state saved: sheaf train --resume RUN goes on
  130  interrupted
  128+n  ended by signal n
mpirun's own exit code means nothing here.
)";

const std::vector<std::string> kBenchmarks = {"step",    "exchange", "codec",
                                              "scaling", "recovery", "consistency"};

// Everything that the parser fills in; one command's part of it counts.
struct Parsed {
  std::vector<std::string> words;  // positional: the job file, then overrides
  bool dry_run = false, print_launch = false, json = false, version = false;
  std::string resume, attach, join, process, name;
  std::optional<Step> resume_step;
  std::uint32_t workers = 0;
  std::uint32_t minutes = 4;
  ExchangeCommand exchange;
  PrivacyTexts privacy;
  std::uint32_t canaries = AuditCommand{}.canaries;
};

// The parser of the whole command line, bound to `parsed`.
struct Parser {
  explicit Parser(Parsed& parsed) {
    app.formatter(std::make_shared<HelpFormatter>());
    app.require_subcommand(1);
    app.set_help_flag("-h,--help", "this text");
    app.add_flag("--version", parsed.version, "commit, MPI, BLAS library and core, compiler");
    for (const CommandText& text : kCommands) {
      names.emplace_back(text.name);
      CLI::App* command = app.add_subcommand(names.back(), std::string(text.summary));
      command->set_help_flag("-h,--help", "this text");
    }
    for (const char* name : {"train", "rank", "check", "slurm", "audit"}) add_job(name, parsed);
    CLI::App* train = app.get_subcommand("train");
    train->add_flag("--dry-run", parsed.dry_run, "check and print the plan, start nothing");
    train->add_flag("--print-launch", parsed.print_launch, "print the mpirun line, start nothing");
    train
        ->add_option("--resume", parsed.resume,
                     "go on from the newest checkpoint of a run directory that is whole")
        ->type_name("RUN");
    train
        ->add_option("--resume-step", parsed.resume_step,
                     "from the checkpoint of this step; newer ones are removed")
        ->type_name("N");
    train
        ->add_option("--attach", parsed.attach,
                     "take over the running job of a run directory whose sheaf train was killed")
        ->type_name("RUN");
    // In a hidden group: what joins a running job uses these, a person has mpirun.
    app.get_subcommand("rank")->add_option("--join", parsed.join)->group("");
    app.get_subcommand("rank")->add_option("--process", parsed.process)->group("");
    app.get_subcommand("list")->add_option("FAMILY", parsed.name);
    app.get_subcommand("help")->add_option("TOPIC", parsed.name);
    app.get_subcommand("bench")->add_option("NAME", parsed.name);
    app.get_subcommand("bench")->add_flag("--json", parsed.json, "figures for a program");
    app.get_subcommand("bench")
        ->add_option("--minutes", parsed.minutes, "of recovery, with a loss each (4)")
        ->check(CLI::Range(2, 10'000));
    add_job("bench", parsed);
    app.get_subcommand("doctor")->add_flag("--json", parsed.json, "findings for a program");
    add_job("doctor", parsed);
    app.get_subcommand("verify")->add_option("RUN", parsed.name);
    app.get_subcommand("verify")->add_flag("--json", parsed.json, "findings for a program");
    app.get_subcommand("status")->add_option("RUN", parsed.name);
    app.get_subcommand("status")->add_flag("--json", parsed.json, "figures for a program");
    CLI::App* scale = app.get_subcommand("scale");
    scale->add_option("RUN", parsed.name);
    scale->add_option("--workers", parsed.workers, "how many it is to have")
        ->type_name("N")
        ->check(CLI::Range(1, 4096));
    add_exchange(*app.get_subcommand("bench"), parsed.exchange);
    add_privacy(*app.get_subcommand("privacy"), parsed.privacy);
    CLI::App* audit = app.get_subcommand("audit");
    audit->add_option("--canaries", parsed.canaries, "how many, at least 5000 (50000)")
        ->type_name("N")
        ->check(CLI::Range(5000, 1'000'000));
    audit->add_flag("--json", parsed.json, "figures for a program");
  }

  static void add_privacy(CLI::App& command, PrivacyTexts& texts) {
    const auto add = [&](const char* name, std::string& text, const char* type, const char* what) {
      return command.add_option(name, text, what)->type_name(type);
    };
    add("--from", texts.from, "RUN", "what the ledger of this run directory comes to");
    add("--sampling-rate", texts.sampling_rate, "Q", "in (0, 1], or a fraction: 150/60000");
    add("--bands", texts.bands, "B",
        "without sampling: steps share noise, as privacy.bands has it");
    add("--steps-between", texts.steps_between, "N", "with it: the steps of an epoch");
    add("--noise", texts.noise, "S", "standard deviation, in units of the clipping norm");
    add("--epsilon", texts.epsilon, "E", "find the least noise for this budget instead");
    add("--steps", texts.steps, "T", "how many");
    add("--delta", texts.delta, "D", "well below 1 / examples, or 1 / users");
    add("--adjacency", texts.adjacency, "KIND",
        "add-remove: one example more or less; replace-one: another one (add-remove; with --bands "
        "replace-one)")
        ->check(CLI::IsMember({"add-remove", "replace-one"}));
    add("--unit", texts.unit, "UNIT",
        "what is protected, and counted by Q: example; user, with all examples; column, a feature "
        "(example)")
        ->check(CLI::IsMember({"example", "user", "column"}));
    command.add_flag("--rdp", texts.rdp, "the Renyi accountant instead of the tight one");
    command.add_flag("--json", texts.json, "figures for a program");
  }

  static void add_exchange(CLI::App& bench, ExchangeCommand& exchange) {
    const CLI::Range processes(1, 16);
    bench.add_option("--transport", exchange.transport, "tcp, shm or both (both)")
        ->check(CLI::IsMember({"tcp", "shm", "both"}));
    bench.add_option("--encryption", exchange.encryption, "none or tls, of tcp (none)")
        ->check(CLI::IsMember({"none", "tls"}));
    bench.add_option("--wait", exchange.wait, "auto, or block: threads never spin (auto)")
        ->check(CLI::IsMember({"auto", "block"}));
    bench.add_option("--mib", exchange.mib, "size of the model (64)")->check(CLI::Range(1, 4096));
    bench.add_option("--chunk-kib", exchange.chunk_kib, "unit of exchange; 0: automatic (0)")
        ->check(CLI::Range(0, 1024));
    bench.add_option("--workers", exchange.workers, "processes (1)")->check(processes);
    bench.add_option("--servers", exchange.servers, "processes (1)")->check(processes);
    bench.add_option("--lanes", exchange.lanes, "threads of a server (1)")->check(processes);
    bench.add_option("--repeat", exchange.repeat, "each figure is a median of so many (5)")
        ->check(CLI::Range(1, 1000));
  }

  void add_job(const std::string& name, Parsed& parsed) {
    app.get_subcommand(name)->add_option("JOB.toml", parsed.words)->expected(0, -1);
  }

  CLI::App app{"", "sheaf"};
  std::vector<std::string> names;
};

UsageFault usage(std::string_view command, std::string_view found, std::string_view expected,
                 const std::optional<std::string>& attempt = std::nullopt) {
  std::string line = command.empty() ? "sheaf" : fmt::format("sheaf {}", command);
  line += fmt::format(": found {}, expected {}", found, expected);
  if (attempt) line += fmt::format(", try {}", *attempt);
  return {line};
}

// The option that `word` misspells, among those of `command` and of no group that is hidden.
UsageFault unknown_option(const CLI::App& command, std::string_view word) {
  std::vector<std::string> options;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional() && !option->get_group().empty()) {
      options.push_back("--" + option->get_lnames().front());
    }
  }
  return usage(command.get_name() == "sheaf" ? "" : command.get_name(), fmt::format("\"{}\"", word),
               "one of " + config::join_words(options), config::nearest(word, options));
}

// Turns what the parser says into one line in the form of all faults.
UsageFault explain(const Parser& parser, const CLI::ParseError& error) {
  const auto chosen = parser.app.get_subcommands();
  const CLI::App& command = chosen.empty() ? parser.app : *chosen.front();
  for (const std::string& word : command.remaining()) {
    if (word.starts_with("-")) return unknown_option(command, word);
    return usage(command.get_name(), fmt::format("\"{}\"", word), "nothing more");
  }
  return {
      fmt::format("{}{}: {}", chosen.empty() ? "" : "sheaf ", command.get_name(), error.what())};
}

// "worker:1"
std::optional<ProcessId> parse_process(std::string_view text) {
  for (const Role role : {Role::server, Role::worker}) {
    const std::string prefix = std::string(to_string(role)) + ":";
    if (!text.starts_with(prefix)) continue;
    std::uint32_t id = 0;
    const char* end = text.data() + text.size();
    const auto [rest, failure] = std::from_chars(text.data() + prefix.size(), end, id);
    if (failure == std::errc{} && rest == end) return ProcessId{role, id};
  }
  return std::nullopt;
}

// The job file and its overrides; nothing if the file is missing.
std::optional<JobArguments> job_of(const Parsed& parsed) {
  if (parsed.words.empty() || parsed.words.front().find('=') != std::string::npos) {
    return std::nullopt;
  }
  return JobArguments{parsed.words.front(), {parsed.words.begin() + 1, parsed.words.end()}};
}

// RUN/config.toml is the job file, and the directory stays.
Command make_resume(const Parsed& parsed) {
  const std::filesystem::path run = parsed.resume;
  JobArguments job{run / "config.toml", parsed.words};
  for (const std::string& word : job.overrides) {
    if (word.find('=') == std::string::npos) {
      return usage("train", fmt::format("\"{}\" with --resume", word),
                   "overrides only: RUN/config.toml is the job file",
                   fmt::format("sheaf train --resume {} run.epochs=20", parsed.resume));
    }
  }
  job.overrides.push_back("run.dir=" + run.string());
  return TrainCommand{job, parsed.dry_run, parsed.print_launch, Resume{parsed.resume_step}, {}};
}

// The job is at work: nothing of it can be changed.
Command make_attach(const Parsed& parsed) {
  const bool more = !parsed.words.empty() || parsed.dry_run || parsed.print_launch ||
                    !parsed.resume.empty() || parsed.resume_step;
  if (more) {
    return usage("train",
                 fmt::format("{} with --attach", parsed.words.empty()
                                                     ? "another option"
                                                     : fmt::format("\"{}\"", parsed.words.front())),
                 "nothing more: the job goes on as it is",
                 fmt::format("sheaf train --attach {}", parsed.attach));
  }
  const std::filesystem::path run = parsed.attach;
  return TrainCommand{
      .job = {run / "config.toml", {"run.dir=" + run.string()}}, .resume = {}, .attach = run};
}

Command make_rank(const Parsed& parsed, const JobArguments& job) {
  if (parsed.join.empty() != parsed.process.empty()) {
    return usage("rank", parsed.join.empty() ? "--process alone" : "--join alone",
                 "both --join CONTROL_FILE and --process ROLE:ID");
  }
  RankCommand rank{job, {}, {}};
  if (!parsed.join.empty()) {
    rank.join = parsed.join;
    rank.process = parse_process(parsed.process);
    if (!rank.process) {
      return usage("rank", fmt::format("--process \"{}\"", parsed.process), "a role and a number",
                   "worker:1");
    }
  }
  return rank;
}

// KIND, then its options.
Command make_codec(const Parsed& parsed) {
  CodecCommand codec{{}, {}, parsed.exchange.repeat, parsed.json};
  for (const std::string& word : parsed.words) {
    if (word.find('=') != std::string::npos && !codec.kind.empty()) {
      codec.options.push_back(word);
    } else if (word.find('=') == std::string::npos && codec.kind.empty()) {
      codec.kind = word;
    } else {
      return usage("bench codec", fmt::format("\"{}\"", word), "KIND, then key=value …",
                   "sheaf bench codec topk ratio=0.001");
    }
  }
  return codec;
}

Command make_privacy(const PrivacyTexts& texts) {
  const auto made = privacy_command(texts);
  if (const auto* command = std::get_if<PrivacyCommand>(&made)) return *command;
  const auto& [found, expected] = std::get<PrivacyFault>(made);
  return usage("privacy", found, expected);
}

Command make_help(Parser& parser, const Parsed& parsed) {
  if (parsed.name == "exit-codes") return HelpCommand{std::string(kExitCodes)};
  if (parsed.name.empty()) {
    parser.app.clear();  // or it would explain `help`
    return HelpCommand{parser.app.help()};
  }
  std::vector<std::string> topics = parser.names;
  if (std::find(topics.begin(), topics.end(), parsed.name) != topics.end()) {
    return HelpCommand{parser.app.get_subcommand(parsed.name)->help()};
  }
  topics.emplace_back("exit-codes");
  return usage("help", fmt::format("\"{}\"", parsed.name), "one of " + config::join_words(topics),
               config::nearest(parsed.name, topics));
}

Command make_command(Parser& parser, const Parsed& parsed) {
  const std::string name = parser.app.get_subcommands().front()->get_name();
  if (name == "help") return make_help(parser, parsed);
  if (name == "list") {
    return ListCommand{parsed.name.empty() ? std::nullopt : std::optional(parsed.name)};
  }
  if (name == "bench") {
    if (parsed.name == "allreduce" && parsed.words.size() == 2) {
      return AllreduceCommand{std::stoull(parsed.words[0]), std::stoi(parsed.words[1])};
    }
    const auto& known = kBenchmarks;
    if (std::find(known.begin(), known.end(), parsed.name) == known.end()) {
      return usage("bench", parsed.name.empty() ? "no name" : fmt::format("\"{}\"", parsed.name),
                   "one of " + config::join_words(known), config::nearest(parsed.name, known));
    }
    if (parsed.name == "exchange") {
      if (!parsed.words.empty()) {
        return usage("bench exchange", fmt::format("\"{}\"", parsed.words[0]), "nothing more");
      }
      ExchangeCommand exchange = parsed.exchange;
      exchange.json = parsed.json;
      return exchange;
    }
    if (parsed.name == "codec") return make_codec(parsed);
  }
  if (name == "train" && !parsed.attach.empty()) return make_attach(parsed);
  if (name == "train" && !parsed.resume.empty()) return make_resume(parsed);
  if (name == "train" && parsed.resume_step) {
    return usage("train", "--resume-step alone", "--resume RUN --resume-step N");
  }
  if (name == "verify") {
    if (parsed.name.empty()) {
      return usage("verify", "no run directory", "RUN, a directory that sheaf train made");
    }
    return VerifyCommand{parsed.name, parsed.json};
  }
  if (name == "status" || name == "scale") {
    if (parsed.name.empty()) {
      return usage(name, "no run directory", "RUN, a directory that sheaf train made");
    }
    if (name == "status") return StatusCommand{parsed.name, parsed.json};
    if (parsed.workers == 0) return usage(name, "no --workers", "--workers N");
    return ScaleCommand{parsed.name, parsed.workers};
  }
  if (name == "privacy") return make_privacy(parsed.privacy);
  if (name == "doctor" && parsed.words.empty()) return DoctorCommand{std::nullopt, parsed.json};
  const std::optional<JobArguments> job = job_of(parsed);
  if (!job) {
    return usage(name, "no job file", "JOB.toml [key=value …]",
                 name == "bench"   ? "sheaf bench step configs/quickstart.toml"
                 : name == "audit" ? "sheaf audit configs/modes/mechanism_gaussian.toml"
                                   : fmt::format("sheaf {} configs/quickstart.toml", name));
  }
  if (name == "train") {
    return TrainCommand{*job, parsed.dry_run, parsed.print_launch, {}, {}};
  }
  if (name == "rank") return make_rank(parsed, *job);
  if (name == "check") return CheckCommand{*job};
  if (name == "slurm") return SlurmCommand{*job};
  if (name == "audit") return AuditCommand{*job, parsed.canaries, parsed.json};
  if (name == "doctor") return DoctorCommand{*job, parsed.json};
  return BenchCommand{parsed.name, *job, parsed.json, (parsed.minutes + 1) / 2 * 2};
}

}  // namespace

Command parse_command_line(std::span<const std::string> arguments) {
  Parsed parsed;
  Parser parser(parsed);
  const std::string commands = "a command: " + config::join_words(parser.names);
  if (arguments.empty()) return usage("", "no command", commands, "sheaf --help");
  const std::string& first = arguments.front();
  if (first == "--version") return VersionCommand{};
  if (first == "probe" && arguments.size() == 1) return ProbeCommand{};
  if (first == "keeper" && arguments.size() == 1) return KeeperCommand{};
  const bool is_command =
      std::find(parser.names.begin(), parser.names.end(), first) != parser.names.end();
  if (!is_command && !first.starts_with("-")) {
    return usage("", fmt::format("\"{}\"", first), commands, config::nearest(first, parser.names));
  }
  try {
    // The library takes arguments from the end of the vector.
    parser.app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return make_command(parser, parsed);
  } catch (const CLI::CallForHelp&) {
    return HelpCommand{parser.app.help()};
  } catch (const CLI::ParseError& error) {
    return explain(parser, error);
  }
}

}  // namespace sheaf::launcher
