// Loaders for modules in Python: PythonLoader for .py files and packages, AppLoader for the
// functions that the embedding program has registered. Both make an image of Python objects.
//
// Threads: load, unload, close: the reload thread, which takes the GIL for them; set_routes: any
// that holds the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <string>

#include "bind/gil.h"
#include "modules/loader.h"

namespace hrmr::bind {

namespace py = pybind11;

class PythonLoader final : public modules::Loader {
 public:
  // open_python(name, path, sources, generation) and report(module_name, handler_name, exception):
  // see python_module.py.
  PythonLoader(py::object open_python, py::object report);
  ~PythonLoader() override;  // takes the GIL

  std::string_view suffix() const override { return ".py"; }
  std::string_view package_file() const override { return "__init__.py"; }
  Result<std::unique_ptr<modules::Image>> open(const modules::OpenRequest& request) override;
  bool is_same_content(const std::string& path, const modules::Image& image) const override;

 private:
  MakersSignals signals_;
  py::object open_python_;
  py::object report_;
};

class AppLoader final : public modules::Loader {
 public:
  explicit AppLoader(py::object report);
  ~AppLoader() override;  // takes the GIL

  // A list of (prefix: bytes, framing: str, function) and of (name: bytes, minimum: int, maximum:
  // int or None, function).
  void set_routes(py::list routes) { routes_ = std::move(routes); }
  std::string_view suffix() const override { return {}; }
  Result<std::unique_ptr<modules::Image>> open(const modules::OpenRequest& request) override;
  bool is_same_content(const std::string&, const modules::Image&) const override { return false; }

 private:
  py::list routes_;
  py::object report_;
};

}  // namespace hrmr::bind
