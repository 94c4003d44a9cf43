#include "bind/python_loader.h"

#include <cxxabi.h>
#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "bind/python_handler.h"
#include "modules/command_name.h"
#include "modules/sources.h"

namespace hrmr::bind {
namespace {

using modules::Registrations;
using modules::Route;
using modules::RouteFraming;

// The Python side words its refusals for people.
std::string text_of(const py::error_already_set& error) {
  return py::str(error.value()).cast<std::string>();
}

// Runs a call into Python, with the GIL, and makes a Status of what it throws.
template <class Value, class Call>
Result<Value> call_python(const Call& call) {
  try {
    return call();
  } catch (abi::__forced_unwind&) {
    stay_for_ever();
  } catch (py::error_already_set& error) {
    return Status::error(text_of(error));
  } catch (const std::exception& error) {
    return Status::error(error.what());
  }
}

Result<RouteFraming> framing_named(const std::string& name, std::string_view prefix) {
  if (name == "auto") return modules::framing_of_prefix(prefix);
  if (name == "line") return RouteFraming::kLine;
  if (name == "http") return RouteFraming::kHttp;
  if (name == "raw") return RouteFraming::kRaw;
  return Status::error("framing '" + name + "' is none of auto, line, http, raw");
}

// A prefix may be any bytes.
std::string shown_in_python(const Route& route) {
  const py::bytes bytes(modules::shown(route));
  return bytes.attr("decode")("utf-8", "backslashreplace").cast<std::string>();
}

// One of (prefix: bytes, framing: str, function).
Status add_route(const py::handle& listed, Registrations& added, PythonHandler& handler) {
  const auto parts = listed.cast<std::tuple<py::bytes, std::string, py::object>>();
  auto route = std::make_unique<Route>();
  route->prefix = std::get<0>(parts);
  Result<RouteFraming> framing = framing_named(std::get<1>(parts), route->prefix);
  if (!framing.is_ok()) return framing.status();
  const Status checked = modules::check_prefix(route->prefix, framing.value());
  if (!checked.is_ok()) return checked;
  for (const auto& other : added.routes) {
    if (other->framing != RouteFraming::kCommand && other->prefix == route->prefix) {
      return Status::error("prefix '" + route->prefix + "' is registered twice in this module");
    }
  }
  handler.function = std::get<2>(parts);
  handler.prefix_bytes = route->prefix.size();
  route->framing = framing.value();
  handler.name = shown_in_python(*route);
  route->run = modules::Run::kPython;
  route->function = PythonHandler::call;
  route->context = &handler;
  added.routes.push_back(std::move(route));
  return Status::ok();
}

// One of (name: bytes, minimum: int, maximum: int or None, function).
Status add_command(const py::handle& listed, Registrations& added, PythonHandler& handler) {
  const auto parts =
      listed.cast<std::tuple<py::bytes, uint32_t, std::optional<uint32_t>, py::object>>();
  auto command = std::make_unique<Route>();
  command->prefix = modules::command_name(std::string(std::get<0>(parts)));
  command->framing = RouteFraming::kCommand;
  const Status checked = modules::check_prefix(command->prefix, command->framing);
  if (!checked.is_ok()) return checked;
  for (const auto& other : added.routes) {
    if (other->framing == command->framing && other->prefix == command->prefix) {
      return Status::error(modules::shown(*command) + " is registered twice in this module");
    }
  }
  handler.function = std::get<3>(parts);
  handler.name = shown_in_python(*command);
  command->run = modules::Run::kPython;
  command->command = PythonHandler::call_command;
  command->arguments_min = std::get<1>(parts);
  command->arguments_max = std::get<2>(parts).value_or(HRMR_ANY_NUMBER);
  command->context = &handler;
  added.routes.push_back(std::move(command));
  return Status::ok();
}

// What is registered is a tuple: three parts are a route, four a command.
Result<Registrations> collect(const py::handle& routes, const std::string& name,
                              const py::object& report,
                              std::vector<std::unique_ptr<PythonHandler>>& handlers) {
  Registrations added;
  for (const py::handle listed : routes) {
    handlers.push_back(std::make_unique<PythonHandler>());
    handlers.back()->report = report;
    handlers.back()->module_name = name;
    const bool is_command = py::len(listed) == 4;
    const Status status = is_command ? add_command(listed, added, *handlers.back())
                                     : add_route(listed, added, *handlers.back());
    if (!status.is_ok()) return status;
  }
  return added;
}

// What is left of a Python module when its image goes: everything is let go of with the GIL.
class PythonImage final : public modules::Image {
 public:
  PythonImage(py::object module, py::object report, std::string name, modules::Sources snapshot)
      : sources(std::move(snapshot)),
        module_(std::move(module)),
        report_(std::move(report)),
        name_(std::move(name)) {}

  ~PythonImage() override {
    const py::gil_scoped_acquire gil;
    static_cast<void>(let_go().is_ok());
  }

  Result<Registrations> load(const modules::LoadArguments& arguments) override {
    const SignalsAdopted adopted(signals_);
    const py::gil_scoped_acquire gil;
    Result<Registrations> loaded =
        call_python<Registrations>([&] { return load_module(arguments); });
    if (!loaded.is_ok()) run_unload();
    return loaded;
  }

  bool saves_state() const override {
    const py::gil_scoped_acquire gil;
    return module_ && module_.attr("saves_state").cast<bool>();
  }

  Result<modules::SavedState> save_state() override {
    const SignalsAdopted adopted(signals_);
    const py::gil_scoped_acquire gil;
    return call_python<modules::SavedState>([&]() -> Result<modules::SavedState> {
      auto saved = module_.attr("save_state")().cast<std::pair<uint64_t, std::string>>();
      if (saved.second.size() > limits::kSavedBytesMax) {
        return Status::error("its state could not be saved: it is larger than " +
                             std::to_string(limits::kSavedBytesMax) + " bytes");
      }
      return modules::SavedState{saved.first, std::move(saved.second)};
    });
  }

  void unload() override {
    const SignalsAdopted adopted(signals_);
    const py::gil_scoped_acquire gil;
    run_unload();
  }

  void release() override {
    const SignalsAdopted adopted(signals_);
    const py::gil_scoped_acquire gil;
    handlers_.clear();
    report_ = py::object();
    if (!module_) return;
    try {
      module_.attr("release")();
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("hrmr: letting a module go");
    }
  }

  Status close() override {
    const SignalsAdopted adopted(signals_);
    const py::gil_scoped_acquire gil;
    return let_go();
  }

  const modules::Sources sources;

 private:
  Result<Registrations> load_module(const modules::LoadArguments& arguments) {
    py::dict config;
    for (const auto& [key, value] : *arguments.config) config[py::str(key)] = py::str(value);
    py::object previous = py::none();
    if (arguments.previous != nullptr) {
      previous = py::make_tuple(arguments.previous->schema, py::bytes(arguments.previous->bytes));
    }
    module_.attr("load")(config, previous);
    Result<Registrations> loaded = collect(module_.attr("routes"), name_, report_, handlers_);
    if (loaded.is_ok()) loaded.value().version = module_.attr("version").cast<std::string>();
    return loaded;
  }

  void run_unload() {
    if (!module_) return;
    try {
      module_.attr("unload")();
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("hrmr: unloading a module");
    }
  }

  // An error says that the generation is still in memory.
  Status let_go() {
    handlers_.clear();
    report_ = py::object();
    if (!module_) return Status::ok();
    const py::object module = std::exchange(module_, py::object());
    try {
      const auto left = module.attr("close")().cast<std::string>();
      return left.empty() ? Status::ok() : Status::error(left);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("hrmr: letting a module go");
    }
    return Status::ok();
  }

  MakersSignals signals_;
  py::object module_;
  py::object report_;
  std::string name_;
  std::vector<std::unique_ptr<PythonHandler>> handlers_;
};

// The functions that the embedding program has registered: there is nothing to load or unload.
class AppImage final : public modules::Image {
 public:
  AppImage(py::list routes, py::object report, std::string name)
      : routes_(std::move(routes)), report_(std::move(report)), name_(std::move(name)) {}

  ~AppImage() override {
    const py::gil_scoped_acquire gil;
    let_go();
  }

  Result<Registrations> load(const modules::LoadArguments&) override {
    const py::gil_scoped_acquire gil;
    return call_python<Registrations>([&] { return collect(routes_, name_, report_, handlers_); });
  }
  void unload() override {}
  Status close() override {
    const py::gil_scoped_acquire gil;
    let_go();
    return Status::ok();
  }

 private:
  void let_go() {
    handlers_.clear();
    routes_.release().dec_ref();
    report_ = py::object();
  }

  py::list routes_;
  py::object report_;
  std::string name_;
  std::vector<std::unique_ptr<PythonHandler>> handlers_;
};

}  // namespace

PythonLoader::PythonLoader(py::object open_python, py::object report)
    : open_python_(std::move(open_python)), report_(std::move(report)) {}

PythonLoader::~PythonLoader() {
  const py::gil_scoped_acquire gil;
  open_python_ = py::object();
  report_ = py::object();
}

Result<std::unique_ptr<modules::Image>> PythonLoader::open(const modules::OpenRequest& request) {
  Result<modules::Sources> sources = modules::read_sources(request.path, suffix());
  if (!sources.is_ok()) return sources.status();
  // It would load well, and answer nothing: what is saved in place is empty for a moment.
  if (sources.value().size() == 1 && sources.value().begin()->second.empty()) {
    return Status::error(request.path +
                         " is empty: it is still being written, or there is nothing in it");
  }
  const SignalsAdopted adopted(signals_);
  const py::gil_scoped_acquire gil;
  return call_python<std::unique_ptr<modules::Image>>([&] {
    py::dict listed;
    for (const auto& [path, content] : sources.value()) listed[py::str(path)] = py::bytes(content);
    py::object module = open_python_(request.name, request.path, listed, request.generation);
    std::unique_ptr<modules::Image> image =
        std::make_unique<PythonImage>(std::move(module), report_, request.name, sources.take());
    return image;
  });
}

bool PythonLoader::is_same_content(const std::string& path, const modules::Image& image) const {
  const Result<modules::Sources> sources = modules::read_sources(path, suffix());
  return sources.is_ok() && sources.value() == static_cast<const PythonImage&>(image).sources;
}

AppLoader::AppLoader(py::object report) : report_(std::move(report)) {}

AppLoader::~AppLoader() {
  const py::gil_scoped_acquire gil;
  routes_.release().dec_ref();
  report_ = py::object();
}

Result<std::unique_ptr<modules::Image>> AppLoader::open(const modules::OpenRequest& request) {
  const py::gil_scoped_acquire gil;
  return std::unique_ptr<modules::Image>(
      std::make_unique<AppImage>(routes_, report_, request.name));
}

}  // namespace hrmr::bind
