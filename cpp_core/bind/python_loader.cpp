#include "bind/python_loader.h"

#include <cxxabi.h>

#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "bind/python_handler.h"

namespace hrmr::bind {
namespace {

using modules::LoadedModule;
using modules::LoadRequest;
using modules::Route;
using modules::RouteFraming;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_status("open", path);
  std::ostringstream content;
  content << file.rdbuf();
  if (file.bad()) return errno_status("read", path);
  return std::move(content).str();
}

// load_python words its refusals for people.
std::string text_of(const py::error_already_set& error) {
  return py::str(error.value()).cast<std::string>();
}

class PythonImage final : public modules::Image {
 public:
  PythonImage(py::object module, std::string content)
      : source(std::move(content)), module_(std::move(module)) {}

  ~PythonImage() override {
    const py::gil_scoped_acquire gil;
    let_go();
  }

  void unload() override {
    const py::gil_scoped_acquire gil;
    if (!module_ || !py::hasattr(module_, "unload")) return;
    try {
      module_.attr("unload")();
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("hrmr: unloading a module");
    }
  }

  Status close() override {
    const py::gil_scoped_acquire gil;
    let_go();
    return Status::ok();
  }

  const std::string source;
  std::vector<std::unique_ptr<PythonHandler>> handlers;

 private:
  void let_go() {
    handlers.clear();
    module_ = py::object();
  }

  py::object module_;
};

Result<RouteFraming> framing_named(const std::string& name, std::string_view prefix) {
  if (name == "auto") return modules::framing_of_prefix(prefix);
  if (name == "line") return RouteFraming::kLine;
  if (name == "http") return RouteFraming::kHttp;
  if (name == "raw") return RouteFraming::kRaw;
  return Status::error("framing '" + name + "' is none of auto, line, http, raw");
}

// One of (prefix: bytes, framing: str, function).
Status add_route(const py::handle& listed, const std::string& module_name, const py::object& report,
                 LoadedModule& loaded) {
  const auto parts = listed.cast<std::tuple<py::bytes, std::string, py::object>>();
  auto route = std::make_unique<Route>();
  route->prefix = std::get<0>(parts);
  Result<RouteFraming> framing = framing_named(std::get<1>(parts), route->prefix);
  if (!framing.is_ok()) return framing.status();
  const Status checked = modules::check_prefix(route->prefix, framing.value());
  if (!checked.is_ok()) return checked;
  for (const auto& other : loaded.routes) {
    if (other->prefix == route->prefix) {
      return Status::error("prefix '" + route->prefix + "' is registered twice in this module");
    }
  }
  auto handler = std::make_unique<PythonHandler>();
  handler->function = std::get<2>(parts);
  handler->report = report;
  handler->module_name = module_name;
  handler->prefix_bytes = route->prefix.size();
  route->framing = framing.value();
  route->run = modules::Run::kPython;
  route->function = PythonHandler::call;
  route->context = handler.get();
  static_cast<PythonImage&>(*loaded.image).handlers.push_back(std::move(handler));
  loaded.routes.push_back(std::move(route));
  return Status::ok();
}

Result<LoadedModule> collect(std::unique_ptr<PythonImage> image, const py::handle& routes,
                             const std::string& name, const py::object& report) {
  LoadedModule loaded;
  loaded.image = std::move(image);
  for (const py::handle listed : routes) {
    const Status added = add_route(listed, name, report, loaded);
    if (added.is_ok()) continue;
    loaded.image->unload();
    return added;
  }
  return loaded;
}

}  // namespace

PythonLoader::PythonLoader(py::object load_python, py::object report)
    : load_python_(std::move(load_python)), report_(std::move(report)) {}

PythonLoader::~PythonLoader() {
  const py::gil_scoped_acquire gil;
  load_python_ = py::object();
  report_ = py::object();
}

Result<LoadedModule> PythonLoader::load(const LoadRequest& request) {
  Result<std::string> source = read_file(request.path);
  if (!source.is_ok()) return source.status();
  const SignalsAdopted adopted(signals_);
  const py::gil_scoped_acquire gil;
  try {
    py::dict config;
    for (const auto& [key, value] : *request.config) config[py::str(key)] = py::str(value);
    py::object module = load_python_(request.name, request.path, py::bytes(source.value()),
                                     request.generation, config);
    auto image = std::make_unique<PythonImage>(module, source.take());
    Result<LoadedModule> loaded =
        collect(std::move(image), module.attr("routes"), request.name, report_);
    if (loaded.is_ok()) loaded.value().version = module.attr("version").cast<std::string>();
    return loaded;
  } catch (abi::__forced_unwind&) {
    stay_for_ever();
  } catch (py::error_already_set& error) {
    return Status::error(text_of(error));
  } catch (const std::exception& error) {
    return Status::error(error.what());
  }
}

bool PythonLoader::is_same_content(const std::string& path, const modules::Image& image) const {
  Result<std::string> source = read_file(path);
  return source.is_ok() && source.value() == static_cast<const PythonImage&>(image).source;
}

AppLoader::AppLoader(py::object report) : report_(std::move(report)) {}

AppLoader::~AppLoader() {
  const py::gil_scoped_acquire gil;
  routes_.release().dec_ref();
  report_ = py::object();
}

Result<LoadedModule> AppLoader::load(const LoadRequest& request) {
  const py::gil_scoped_acquire gil;
  try {
    return collect(std::make_unique<PythonImage>(py::object(), std::string()), routes_,
                   request.name, report_);
  } catch (const std::exception& error) {
    return Status::error(error.what());
  }
}

}  // namespace hrmr::bind
