#include "launcher/run/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

constexpr std::string_view kErase = "\x1b[K";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kPlain = "\x1b[0m";

// One line, and nothing that steers a terminal: the text comes from other processes.
std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// "macro_f1" -> "macro f1".
std::string words_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// The moving line in parts; the last are the first to go where the terminal is narrow.
struct Part {
  std::string text;
  int rank;  // 0 stays longest
};

std::string join(const std::vector<Part>& parts, int highest_rank) {
  std::string line;
  for (const Part& part : parts) {
    if (part.rank > highest_rank) continue;
    if (!line.empty()) line += "  ";
    line += part.text;
  }
  return line;
}

std::vector<Part> parts_of(const MetricRow& row, std::uint64_t epochs, std::uint64_t steps,
                           double remaining_s, bool brief) {
  const std::string push = readable_rate(row.push_bytes_per_s);
  const std::string pull = readable_rate(row.pull_bytes_per_s);
  // Under privacy nobody knows the loss; what has been spent is what matters.
  const std::string figure = row.epsilon ? fmt::format("epsilon {}", readable_figure(*row.epsilon))
                                         : fmt::format("loss {}", readable_figure(row.loss));
  return {
      {fmt::format("epoch {}/{}", row.epoch, epochs), 1},
      {fmt::format("step {}/{}", row.step, steps), 2},
      {figure, 0},
      {fmt::format("{} {}", readable_count(row.examples_per_s), brief ? "ex/s" : "examples/s"), 4},
      {brief ? fmt::format("{}+{} MB/s", push, pull)
             : fmt::format("push {} pull {} MB/s", push, pull),
       5},
      {fmt::format("ETA {}", readable_clock(remaining_s)), 3}};
}

constexpr int kHighestRank = 5;

}  // namespace

ProgressStyle style_of(int descriptor) {
  ProgressStyle style;
  const char* terminal = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  style.in_place =
      ::isatty(descriptor) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
  style.colour = style.in_place && (no_color == nullptr || *no_color == '\0');
  struct winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.columns = size.ws_col;
  return style;
}

Progress::Progress(Options options, Sink sink, TimePoint start)
    : options_(options),
      sink_(std::move(sink)),
      start_(start),
      shown_(start),
      remaining_s_(std::numeric_limits<double>::infinity()) {}

void Progress::update(const MetricRow& row, TimePoint now) {
  row_ = row;
  if (row.step > options_.first_step && row.step <= options_.steps) {
    const auto done = static_cast<double>(row.step - options_.first_step);
    remaining_s_ = seconds(now - start_) / done * static_cast<double>(options_.steps - row.step);
  }
  const bool is_first = options_.style.in_place && !drawn_;
  const Duration pause = options_.style.in_place ? options_.redraw_every : options_.plain_every;
  if (!is_first && now - shown_ < pause) return;
  shown_ = now;
  if (options_.style.in_place) {
    redraw();
  } else {
    print(line());
  }
}

std::string Progress::line() const {
  return join(parts_of(*row_, options_.epochs, options_.steps, remaining_s_, false), kHighestRank);
}

std::string Progress::fitting_line() const {
  // The last column stays free: a terminal may wrap as soon as it is written.
  const std::size_t room = std::max<std::size_t>(options_.style.columns, 2) - 1;
  std::string text = line();
  if (text.size() <= room) return text;
  const auto parts = parts_of(*row_, options_.epochs, options_.steps, remaining_s_, true);
  for (int rank = kHighestRank; rank >= 0; --rank) {
    text = join(parts, rank);
    if (text.size() <= room) break;
  }
  return text.substr(0, room);
}

void Progress::redraw() {
  sink_(fmt::format("\r{}{}", fitting_line(), kErase));
  drawn_ = true;
}

void Progress::print(std::string_view text) {
  if (!drawn_) {
    sink_(fmt::format("{}\n", text));
    return;
  }
  sink_(fmt::format("\r{}{}\n{}", kErase, text, fitting_line()));
}

void Progress::epoch(std::uint64_t epoch, std::optional<double> train_loss,
                     const std::vector<std::pair<std::string, double>>& validation) {
  std::string text;
  if (train_loss) text += fmt::format("  train loss {}", readable_figure(*train_loss));
  for (const auto& [name, value] : validation) {
    text += fmt::format("  {}{} {}", name == "loss" ? "validation " : "", words_of(name),
                        readable_figure(value));
  }
  print(fmt::format("epoch {}/{} done{}", epoch, options_.epochs, text));
}

void Progress::note(std::string_view text) { print(one_line(text)); }

void Progress::warning(ProcessId process, std::string_view host, std::string_view text) {
  const std::string line =
      one_line(fmt::format("{}{}{}: {}", to_string(process), host.empty() ? "" : "@", host, text));
  print(options_.style.colour ? fmt::format("{}{}{}", kYellow, line, kPlain) : line);
}

void Progress::finish() {
  if (!drawn_) return;
  redraw();
  sink_("\n");
  drawn_ = false;
}

}  // namespace sheaf::launcher
