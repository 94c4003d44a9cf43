// The Python module hrmr._core.
#include <hrmr/abi.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bind/core.h"
#include "bind/python_request.h"

namespace py = pybind11;
using hrmr::bind::Core;
using hrmr::bind::CoreError;
using hrmr::bind::PythonRequest;

PYBIND11_MODULE(_core, module) {
  module.doc() = "The HRMR engine. Internal: use the package hrmr, which wraps it.";
  module.attr("VERSION") = HRMR_VERSION;
  module.attr("ABI_VERSION") = py::make_tuple(HRMR_ABI_MAJOR, HRMR_ABI_MINOR);
  py::register_exception<CoreError>(module, "CoreError");

  py::class_<PythonRequest>(module, "Request")
      .def_property_readonly("bytes", &PythonRequest::bytes)
      .def_property_readonly("rest", &PythonRequest::rest)
      .def_property_readonly("text", &PythonRequest::text)
      .def_property_readonly("prefix", &PythonRequest::prefix)
      .def_property_readonly("peer", &PythonRequest::peer)
      .def_property_readonly("framing", &PythonRequest::framing)
      .def_property_readonly("method", &PythonRequest::method)
      .def_property_readonly("target", &PythonRequest::target)
      .def_property_readonly("path", &PythonRequest::path)
      .def_property_readonly("query", &PythonRequest::query)
      .def_property_readonly("headers", &PythonRequest::headers)
      .def_property_readonly("body", &PythonRequest::body);

  py::class_<Core>(module, "Core")
      .def(py::init<const py::dict&>(), py::arg("options"))
      .def("start", &Core::start)
      .def_property_readonly("port", &Core::port)
      .def("reload", &Core::reload, py::arg("only"))
      .def("adopt", &Core::adopt, py::arg("fd"))
      .def("request_reload", &Core::request_reload)
      .def("request_shutdown", &Core::request_shutdown)
      .def("stopped_fd", &Core::stopped_fd)
      .def("stop", &Core::stop)
      .def("set_app_routes", &Core::set_app_routes, py::arg("routes"))
      .def("write_log", &Core::write_log, py::arg("level"), py::arg("source"), py::arg("message"))
      .def("wait_logs", &Core::wait_logs, py::arg("timeout_ms"))
      .def("modules", &Core::modules);
}
