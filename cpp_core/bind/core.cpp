#include "bind/core.h"

#include <pybind11/stl.h>
#include <unistd.h>

#include <utility>

#include "bind/gil.h"

namespace hrmr::bind {
namespace {

template <class T>
T option(const py::dict& options, const char* key) {
  if (!options.contains(key)) throw py::key_error(std::string("option '") + key + "' is missing");
  return options[key].cast<T>();
}

modules::ReloadPolicy policy_named(const std::string& name) {
  if (name == "auto") return modules::ReloadPolicy::kAuto;
  if (name == "swap") return modules::ReloadPolicy::kSwap;
  if (name == "hold") return modules::ReloadPolicy::kHold;
  if (name == "reject") return modules::ReloadPolicy::kReject;
  throw py::value_error("reload policy '" + name + "' is none of auto, swap, hold, reject");
}

modules::RegistryOptions registry_options(const py::dict& options) {
  modules::RegistryOptions registry;
  registry.places = option<std::vector<std::string>>(options, "places");
  using Configs = std::map<std::string, std::map<std::string, std::string>>;
  for (const auto& [name, config] : option<Configs>(options, "configs")) {
    registry.configs[name].insert(config.begin(), config.end());
  }
  registry.policy = policy_named(option<std::string>(options, "policy"));
  using Policies = std::map<std::string, std::string>;
  for (const auto& [name, policy] : option<Policies>(options, "policies")) {
    registry.policies[name] = policy_named(policy);
  }
  registry.hold_timeout_ms = option<uint64_t>(options, "hold_timeout_ms");
  using Timeouts = std::map<std::string, uint64_t>;
  for (const auto& [name, timeout_ms] : option<Timeouts>(options, "hold_timeouts_ms")) {
    registry.hold_timeouts_ms[name] = timeout_ms;
  }
  registry.retire_timeout_ms = option<uint64_t>(options, "retire_timeout_ms");
  return registry;
}

void read_limits(const py::dict& options, server::Options& parsed) {
  wire::FrameLimits& frame_limits = parsed.frame_limits;
  frame_limits.line_bytes_max = option<size_t>(options, "line_max");
  frame_limits.head_bytes_max = option<size_t>(options, "header_max");
  frame_limits.target_bytes_max = option<size_t>(options, "target_max");
  frame_limits.headers_max = option<size_t>(options, "max_headers");
  frame_limits.body_bytes_max = option<size_t>(options, "body_max");
  frame_limits.bulk_bytes_max = option<size_t>(options, "bulk_max");
  frame_limits.command_bytes_max = option<size_t>(options, "command_max");
  frame_limits.elements_max = option<size_t>(options, "max_arguments");
  parsed.connections_max = option<size_t>(options, "max_connections");
  parsed.connections_per_address_max = option<size_t>(options, "max_connections_per_address");
  parsed.pipelined_requests_max = option<size_t>(options, "max_pipeline");
  parsed.output_bytes_max = option<size_t>(options, "output_max");
  parsed.reply_bytes_max = option<size_t>(options, "reply_max");
  server::Timeouts& timeouts = parsed.timeouts;
  timeouts.idle_ms = option<uint64_t>(options, "idle_timeout_ms");
  timeouts.head_ms = option<uint64_t>(options, "header_timeout_ms");
  timeouts.body_ms = option<uint64_t>(options, "body_timeout_ms");
  timeouts.write_ms = option<uint64_t>(options, "write_timeout_ms");
  timeouts.bytes_per_s_min = option<size_t>(options, "min_rate");
}

server::Options server_options(const py::dict& options) {
  server::Options parsed;
  parsed.host = option<std::string>(options, "host");
  parsed.port = option<uint16_t>(options, "port");
  parsed.loops = option<unsigned>(options, "loops");
  parsed.threads = option<unsigned>(options, "threads");
  parsed.python_threads = option<unsigned>(options, "python_threads");
  parsed.queue_slots = option<size_t>(options, "queue");
  read_limits(options, parsed);
  parsed.drain_timeout_ms = option<uint64_t>(options, "drain_timeout_ms");
  parsed.tcp = option<bool>(options, "tcp");
  parsed.unix_path = option<std::string>(options, "unix");
  parsed.unix_mode = option<mode_t>(options, "unix_mode");
  parsed.admin.from_anywhere = option<std::string>(options, "admin") == "any";
  parsed.admin.token = option<std::string>(options, "admin_token");
  parsed.admin.hosts = option<std::vector<std::string>>(options, "admin_hosts");
  parsed.crash_report = option<bool>(options, "crash_report");
  parsed.watch = option<bool>(options, "watch");
  parsed.watch_poll_ms = option<uint64_t>(options, "watch_poll_ms");
  parsed.registry = registry_options(options);
  return parsed;
}

const char* name_of(modules::Change change) {
  switch (change) {
    case modules::Change::kLoaded:
      return "loaded";
    case modules::Change::kReloaded:
      return "reloaded";
    case modules::Change::kUnchanged:
      return "unchanged";
    case modules::Change::kRemoved:
      return "removed";
    case modules::Change::kFailed:
      break;
  }
  return "failed";
}

// What a client or a file's name brought in need not be UTF-8.
py::str shown(const std::string& text) {
  PyObject* decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::list outcomes_of(const modules::ReloadReport& report) {
  py::list outcomes;
  for (const modules::Outcome& outcome : report.outcomes) {
    py::dict described;
    described["name"] = shown(outcome.name);
    described["change"] = name_of(outcome.change);
    described["generation"] = outcome.generation;
    described["old_generation"] = outcome.old_generation;
    described["message"] = shown(outcome.message);
    described["note"] = shown(outcome.note);
    described["ms"] = outcome.ms;
    outcomes.append(std::move(described));
  }
  return outcomes;
}

}  // namespace

Core::Core(const py::dict& options) : process_(::getpid()) {
  const auto open_python = option<py::object>(options, "open_python");
  const auto report = option<py::object>(options, "report");
  const auto level = static_cast<LogLevel>(option<int>(options, "log_level"));
  server::Options parsed = server_options(options);
  auto app_loader = std::make_unique<AppLoader>(report);
  app_loader_ = app_loader.get();
  std::vector<std::unique_ptr<modules::Loader>> loaders;
  loaders.push_back(std::make_unique<PythonLoader>(open_python, report));
  loaders.push_back(std::move(app_loader));
  server_ = std::make_unique<server::Server>(std::move(parsed), std::move(loaders),
                                             std::make_unique<PythonCrew>());
  server_->log().set_level(level);
}

Core::~Core() {
  // A forked child has none of the threads. And handlers that never end hold the server for the
  // life of the process: to free it under them would be worse.
  if (::getpid() != process_ || !stop()) (void)server_.release();
}

py::list Core::start() {
  modules::ReloadReport report;
  {
    const py::gil_scoped_release no_gil;
    const Status started = server_->start(report);
    if (!started.is_ok()) throw CoreError(started.message());
  }
  is_started_ = true;
  return outcomes_of(report);
}

// The reload thread would wait for itself.
void Core::refuse_in_load() const {
  if (server_->is_reload_thread()) {
    throw CoreError(
        "a module that loads or unloads cannot wait for a reload: use request_reload()");
  }
}

py::list Core::reload(std::vector<std::string> only) {
  if (!is_started_) throw CoreError("the server is not running");
  refuse_in_load();
  modules::ReloadReport report;
  {
    const py::gil_scoped_release no_gil;
    report = server_->reload(std::move(only));
  }
  return outcomes_of(report);
}

bool Core::adopt(int fd) {
  const Result<bool> adopted = server_->adopt(fd);
  if (!adopted.is_ok()) throw CoreError(adopted.status().message());
  return adopted.value();
}

void Core::request_reload() {
  if (is_started_) server_->request_reload();
}

void Core::request_shutdown() {
  if (is_started_) server_->begin_shutdown();
}

bool Core::stop() {
  bool has_stopped = false;
  {
    const py::gil_scoped_release no_gil;
    has_stopped = server_->stop();
  }
  if (has_stopped) is_started_ = false;
  return has_stopped;
}

py::list Core::set_app_routes(py::list routes) {
  refuse_in_load();
  app_loader_->set_routes(std::move(routes));
  modules::ReloadReport report;
  const uint64_t revision = ++app_revision_;
  {
    const py::gil_scoped_release no_gil;
    server_->announce_inline_module("app", *app_loader_, revision);
    if (is_started_) report = server_->reload({"app"});
  }
  return outcomes_of(report);
}

void Core::write_log(int level, const std::string& source, std::string message) {
  server_->log().write(static_cast<LogLevel>(level), source, std::move(message));
}

std::optional<std::vector<Core::LogLine>> Core::wait_logs(uint32_t timeout_ms) {
  std::vector<LogRecord> records;
  {
    const py::gil_scoped_release no_gil;
    if (!server_->log().wait(records, timeout_ms)) return std::nullopt;
  }
  std::vector<LogLine> lines;
  lines.reserve(records.size());
  for (const LogRecord& record : records) {
    lines.emplace_back(static_cast<int>(record.level), shown(record.source), shown(record.message));
  }
  return lines;
}

py::list Core::modules() {
  std::vector<modules::ModuleInfo> loaded;
  if (is_started_) {
    const py::gil_scoped_release no_gil;
    loaded = server_->modules();
  }
  py::list listed;
  for (const modules::ModuleInfo& info : loaded) {
    py::dict described;
    described["name"] = info.name;
    described["version"] = shown(info.version);
    described["generation"] = info.generation;
    described["routes"] = info.routes;
    listed.append(std::move(described));
  }
  return listed;
}

}  // namespace hrmr::bind
