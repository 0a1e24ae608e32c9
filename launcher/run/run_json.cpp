#include "launcher/run/run_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;

// Text from other processes may hold any bytes; what is not UTF-8 becomes U+FFFD.
std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + '\n';
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json of(const std::vector<std::pair<std::string, double>>& pairs) {
  Json json = Json::object();
  for (const auto& [name, value] : pairs) json[name] = value;
  return json;
}

Json rows_of(const std::vector<std::uint64_t>& matrix, std::size_t columns) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < matrix.size(); i += columns) {
    Json row = Json::array();
    for (std::size_t k = 0; k < columns; ++k) row.push_back(matrix[i + k]);
    rows.push_back(std::move(row));
  }
  return rows;
}

Json of(const std::optional<metrics::Evaluation>& part) {
  if (!part) return {{"loss", nullptr}};
  Json json = of(part->pairs());
  json["examples"] = part->examples;
  if (!part->classification) return json;
  Json& classes = json["classes"] = Json::array();
  for (const metrics::ClassFigures& figures : part->classification->classes) {
    classes.push_back({{"precision", figures.precision},
                       {"recall", figures.recall},
                       {"f1", figures.f1},
                       {"support", figures.support}});
  }
  if (!part->classification->confusion.empty()) {
    json["confusion"] = rows_of(part->classification->confusion, classes.size());
  }
  return json;
}

Json of(const RunError& error) {
  return {{"rank", or_null(error.rank)},
          {"process", or_null(error.process)},
          {"host", or_null(error.host)},
          {"phase", or_null(error.phase)},
          {"text", error.text}};
}

Json of(const PrivacyStatement& statement) {
  const auto& [epsilon, account, steps, releases] = statement.spent;
  const privacy::LedgerTerms& terms = statement.terms;
  Json json = {{"epsilon", epsilon.value},
               {"delta", terms.delta},
               {"error", epsilon.error},
               {"accountant", epsilon.accountant},
               {"unit", to_string(terms.unit)},
               {"adjacency", to_string(terms.adjacency)},
               {"mechanism", privacy::mechanism_of(terms)},
               {"where", to_string(terms.where)},
               {"sampling", to_string(terms.sampling)},
               {"sampling_rate", terms.sampling_rate},
               {"noise", terms.noise},
               {"clip", terms.clip},
               {"steps", steps},
               {"releases", releases},
               {"epsilon_vs",
                {{"model", or_null(statement.vs_model)},
                 {"server", or_null(statement.vs_server)},
                 {"link", or_null(statement.vs_link)}}},
               {"keys", statement.keys},
               {"not_protected", statement.not_protected}};
  json["clipping"] = to_string(statement.clip.kind);
  if (statement.clip.adapts()) {
    json["quantile"] = statement.clip.quantile;
    json["count_noise"] = terms.noise * statement.clip.norm / statement.clip.of_all_counts();
    json["bound"] = or_null(statement.bound);
  }
  if (terms.unit == privacy::Unit::user) json["examples_per_user"] = terms.examples_per_user;
  if (terms.bands != 0) {
    json["bands"] = terms.bands;
    json["steps_between"] = terms.steps_per_epoch;
    json["sensitivity"] = statement.sensitivity;
  }
  if (terms.where == privacy::NoisePlace::local) json["partition"] = account;
  return json;
}

}  // namespace

std::string result_json(const RunResult& result) {
  Json json = {{"job", result.job},
               {"exit", result.exit},
               {"seed", result.seed},
               {"config_sha256", result.config_sha256},
               {"build", result.build},
               {"servers", result.servers},
               {"workers", result.workers},
               {"partitions", result.partitions},
               {"parameters", result.parameters},
               {"steps", result.steps},
               {"epochs", result.epochs},
               {"seconds", result.seconds},
               {"cpu_seconds", result.cpu_seconds},
               {"peak_rss_bytes", result.peak_rss_bytes},
               {"train", of(result.train)},
               {"validation", of(result.validation)},
               {"test", of(result.test)},
               {"throughput", {{"examples_per_s", result.examples_per_s}}},
               {"traffic",
                {{"push_bytes", result.traffic.push_bytes},
                 {"pull_bytes", result.traffic.pull_bytes},
                 {"push_bytes_raw", result.traffic.push_bytes_raw},
                 {"pull_bytes_raw", result.traffic.pull_bytes_raw},
                 {"seconds", result.traffic.seconds}}},
               {"model_sha256", or_null(result.model_sha256)},
               {"bit_exact", result.bit_exact},
               {"transport", result.transport},
               {"encryption", result.encrypted ? "tls" : "none"}};
  if (result.privacy) json["privacy"] = of(*result.privacy);
  json["checkpoint"] = {{"step", or_null(result.checkpoint)},
                        {"bytes", result.checkpoint_bytes.held},
                        {"written_bytes", result.checkpoint_bytes.written},
                        {"lane_pause_ms", nullptr}};
  if (const auto& pause = result.lane_pause) {
    json["checkpoint"]["lane_pause_ms"] = {
        {"p50", 1e3 * pause->p50}, {"p99", 1e3 * pause->p99}, {"n", pause->count}};
  }
  json["acknowledged"] = result.survives ? Json(to_string(*result.survives)) : Json();
  json["faults"] = {{"restarts", result.faults.restarts},
                    {"replacements", result.faults.replacements},
                    {"duplicates_dropped", result.faults.duplicates_dropped},
                    {"rolled_back_steps", result.faults.rolled_back_steps},
                    {"recovery_seconds", result.faults.recovery_seconds},
                    {"failed_checkpoints", result.faults.failed_checkpoints},
                    {"dropped_rows", result.faults.dropped_rows},
                    {"skipped_steps", result.faults.skipped_steps},
                    {"rejected_pushes", result.faults.rejected_pushes},
                    {"dropped_pushes", result.faults.dropped_pushes},
                    {"lost_residuals", result.faults.lost_residuals},
                    {"stood_in", result.faults.stood_in}};
  if (result.error) json["error"] = of(*result.error);
  return text_of(json, 1);
}

std::string control_json(const Control& control) {
  std::string key;
  for (const std::byte byte : control.key) key += fmt::format("{:02x}", byte);
  return text_of(
      Json{{"job", control.job},
           {"address", control.address},
           {"port", control.port},
           {"config_sha256", control.config_sha256},
           {"encryption", control.encryption},
           {"key", key},
           {"launcher", {{"pid", control.launcher_pid}, {"started", control.launcher_started}}}},
      1);
}

ControlFile parse_control(const std::string& text, const std::string& file) {
  const Json json = Json::parse(text, nullptr, false);
  ControlFile control;
  const auto has = [&](const char* key, auto is) {
    return json.is_object() && json.contains(key) && is(json[key]);
  };
  const auto is_text = [](const Json& v) { return v.is_string(); };
  if (has("port", [](const Json& v) { return v.is_number_unsigned() && v <= 65535; }) &&
      has("address", is_text) && has("key", is_text)) {
    if (has("config_sha256", is_text)) {
      control.config_sha256 = json["config_sha256"].get<std::string>();
    }
    if (has("encryption", is_text)) control.encryption = json["encryption"].get<std::string>();
    control.address = json["address"].get<std::string>();
    control.port = json["port"].get<std::uint16_t>();
    control.key_hex = json["key"].get<std::string>();
    if (has("launcher", [](const Json& v) { return v.is_object(); })) {
      control.launcher_pid = json["launcher"].value("pid", std::int64_t{0});
      control.launcher_started = json["launcher"].value("started", std::uint64_t{0});
    }
    return control;
  }
  fail(Fault::config, "{}: found no address, port and key; expected RUN/control.json of a job",
       file);
}

std::string processes_json(const std::map<ProcessId, ProcessRow>& processes) {
  Json rows = Json::array();
  for (const auto& [process, row] : processes) {
    rows.push_back({{"role", to_string(process.role)},
                    {"id", process.id},
                    {"pid", row.pid},
                    {"started", row.started},
                    {"host", row.host},
                    {"incarnation", row.incarnation},
                    {"address", row.address},
                    {"ports", row.ports},
                    {"state", to_string(row.state)}});
    const ProcessRow::Lost& lost = row.follows;
    if (lost.pid == 0) continue;
    rows.back()["follows"] = {{"pid", lost.pid}, {"started", lost.started}, {"host", lost.host}};
  }
  return text_of(Json{{"processes", std::move(rows)}}, 1);
}

std::vector<ProcessRow> parse_processes(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  std::vector<ProcessRow> rows;
  if (!json.is_object() || !json.contains("processes")) return rows;
  try {
    for (const Json& entry : json["processes"]) {
      ProcessRow row;
      const bool server = entry.at("role") == to_string(Role::server);
      row.process = {server ? Role::server : Role::worker, entry.at("id")};
      row.pid = entry.at("pid");
      row.started = entry.value("started", std::uint64_t{0});
      row.host = entry.at("host");
      row.incarnation = entry.at("incarnation");
      row.address = entry.at("address");
      row.ports = entry.at("ports").get<std::vector<std::uint16_t>>();
      row.state = ProcessState::running;  // as far as anybody knows
      if (entry.contains("follows")) {
        const Json& lost = entry["follows"];
        row.follows = {lost.at("pid"), lost.at("started"), lost.at("host")};
      }
      rows.push_back(std::move(row));
    }
  } catch (const Json::exception&) {
    return {};
  }
  return rows;
}

std::string metric_json(const MetricRow& row, WallTime now) {
  const auto time = std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch());
  Json json = {{"time", static_cast<double>(time.count()) / 1000},
               {"step", row.step},
               {"epoch", row.epoch},
               {"split", row.split},
               {"loss", row.loss}};
  json.update(of(row.metrics));
  json["rate"] = or_null(row.rate);
  json["examples_per_s"] = row.examples_per_s;
  json["push_bytes"] = row.push_bytes;
  json["pull_bytes"] = row.pull_bytes;
  json["epsilon"] = or_null(row.epsilon);
  return text_of(json, -1);
}

std::optional<MetricPlace> metric_place(const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  const auto has = [&](const char* key, auto is) {
    return json.is_object() && json.contains(key) && is(json[key]);
  };
  if (!has("step", [](const Json& v) { return v.is_number_unsigned(); }) ||
      !has("split", [](const Json& v) { return v.is_string(); })) {
    return std::nullopt;
  }
  // Only a row of steps has a rate.
  const bool evaluation =
      json["split"] != "train" || !has("rate", [](const Json& v) { return v.is_number(); });
  return MetricPlace{json["split"], json["step"].get<std::uint64_t>(), evaluation};
}

bool metric_stays(const std::string& line, std::uint64_t from) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_unsigned()) {
    return false;
  }
  const auto step = json["step"].get<std::uint64_t>();
  return step < from || (step == from && json.contains("split") && json["split"] == "train");
}

}  // namespace sheaf::launcher
