// PythonHandler: a Python function behind a route, called through the same C signature as any
// handler.
//
// Threads: made and destroyed with the GIL, on the reload thread; called on a Python thread, whose
// crew holds the GIL.
#pragma once

#include <hrmr/abi.h>
#include <pybind11/pybind11.h>

#include <string>

#include "server/host_table.h"

namespace hrmr::bind {

namespace py = pybind11;

// Throws the Python exception for a call on a reply that was refused.
void expect_ok(wire::WriteResult result, const char* what);

struct PythonHandler {
  py::object function;
  py::object report;  // report(module_name, handler_name, exception): logs the traceback
  std::string module_name;
  std::string name;  // "prefix 'GREET '", "command 'KV.GET'": UTF-8
  size_t prefix_bytes = 0;

  // An hrmr_handler; `context` is the PythonHandler.
  static int call(const hrmr_request* request, hrmr_reply* reply, void* context);
  // An hrmr_command_handler; the function takes a list of bytes and returns a value.
  static int call_command(const hrmr_call* call, hrmr_reply* reply, void* context);
};

}  // namespace hrmr::bind
