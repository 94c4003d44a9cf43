#include "bind/python_handler.h"

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/limits.h"
#include "bind/gil.h"
#include "bind/python_request.h"
#include "bind/python_value.h"
#include "server/host_table.h"
#include "server/piece.h"

namespace hrmr::bind {

void expect_ok(wire::WriteResult result, const char* what) {
  if (result == wire::WriteResult::kOk) return;
  if (result == wire::WriteResult::kTooLarge) {
    throw py::value_error(
        "the reply is larger than reply_max (--reply-max), or a value in it is nested more than 32 "
        "deep");
  }
  throw py::value_error(what);
}

namespace {

// str, bytes and whatever has a buffer. False: none of these.
bool write_bytes(hrmr_reply& reply, const py::handle& value) {
  std::string_view bytes;
  if (PyUnicode_Check(value.ptr())) {
    Py_ssize_t size = 0;
    const char* utf8 = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
    if (utf8 == nullptr) throw py::error_already_set();
    bytes = {utf8, static_cast<size_t>(size)};
  } else if (PyBytes_Check(value.ptr())) {
    bytes = {PyBytes_AS_STRING(value.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(value.ptr()))};
  } else if (PyObject_CheckBuffer(value.ptr()) != 0) {
    const py::bytes copy = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(value.ptr()));
    if (!copy) throw py::error_already_set();
    return write_bytes(reply, copy);
  } else {
    return false;
  }
  expect_ok(reply.writer.write(bytes), "the body was refused");
  return true;
}

bool flush_piece(hrmr_reply& reply) {
  int result = HRMR_OK;
  {
    const py::gil_scoped_release unlocked;
    result = server::flush_stream(reply, limits::kWriteTimeoutMs);
  }
  if (result == HRMR_BUSY) throw py::value_error("the client does not read what it is sent");
  return result == HRMR_OK;
}

// An iterator of str or bytes, each sent when it has come, until the client has gone.
void write_pieces(hrmr_reply& reply, const py::object& pieces) {
  if (server::begin_stream(reply, -1) != HRMR_OK) throw py::value_error(reply.refusal);
  bool is_wanted = true;
  while (is_wanted) {
    const auto piece = py::reinterpret_steal<py::object>(PyIter_Next(pieces.ptr()));
    if (!piece && PyErr_Occurred() != nullptr) throw py::error_already_set();
    if (!piece) return;
    if (!write_bytes(reply, piece)) {
      throw py::type_error("an iterator must yield str or bytes, not " +
                           std::string(Py_TYPE(piece.ptr())->tp_name));
    }
    is_wanted = flush_piece(reply);
  }
  if (py::hasattr(pieces, "close")) pieces.attr("close")();
}

// A path, or a descriptor that stays its owner's.
void write_file(hrmr_reply& reply, const py::object& file) {
  int number = -1;
  Fd opened;
  if (PyLong_Check(file.ptr()) != 0) {
    number = file.cast<int>();
  } else {
    const auto path = py::module_::import("os").attr("fsencode")(file).cast<std::string>();
    opened = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    number = opened.get();
    if (number < 0) {
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, path.c_str());
      throw py::error_already_set();
    }
  }
  struct stat status {};
  if (::fstat(number, &status) != 0) {
    throw py::value_error(
        "the file of a Response is not open: its descriptor is used when the "
        "handler has returned");
  }
  const bool is_regular = S_ISREG(status.st_mode);
  const auto size = static_cast<uint64_t>(is_regular ? status.st_size : 0);
  if (!is_regular || server::host_table().send_file(&reply, number, 0, size) != HRMR_OK) {
    throw py::value_error("the file of a Response must be a regular file");
  }
}

// hrmr.Response, by its attributes.
void write_response(hrmr_reply& reply, const py::handle& response) {
  const auto status = response.attr("status").cast<int>();
  expect_ok(reply.writer.set_status(status), "the status must be from 200 to 599");
  for (const py::handle header : response.attr("headers")) {
    const auto pair = header.cast<std::pair<std::string, std::string>>();
    const std::string problem = "header '" + pair.first + "' is not allowed, or not a valid header";
    expect_ok(reply.writer.add_header(pair.first, pair.second), problem.c_str());
  }
  if (response.attr("close").cast<bool>()) reply.writer.close_after();
  const py::object file = py::getattr(response, "file", py::none());
  if (!file.is_none()) return write_file(reply, file);
  const py::object body = response.attr("body");
  if (PyIter_Check(body.ptr()) != 0) return write_pieces(reply, body);
  if (!write_bytes(reply, body)) {
    throw py::type_error("the body of a Response must be str or bytes, not " +
                         std::string(Py_TYPE(body.ptr())->tp_name));
  }
}

void write_result(hrmr_reply& reply, const py::object& result) {
  if (write_bytes(reply, result)) return;
  if (PyIter_Check(result.ptr()) != 0) return write_pieces(reply, result);
  if (!py::hasattr(result, "status") || !py::hasattr(result, "headers")) {
    throw py::type_error(
        "a handler must return str, bytes, an iterator of them or hrmr.Response, not " +
        std::string(Py_TYPE(result.ptr())->tp_name));
  }
  write_response(reply, result);
}

// "ValueError: no such user". What str() of the exception does is Python's, and may itself fail.
std::string describe(const py::object& exception) {
  std::string text = Py_TYPE(exception.ptr())->tp_name;
  PyObject* message = PyObject_Str(exception.ptr());
  const char* utf8 = message == nullptr ? nullptr : PyUnicode_AsUTF8(message);
  if (utf8 != nullptr && *utf8 != '\0') text.append(": ").append(utf8);
  Py_XDECREF(message);
  PyErr_Clear();
  return text;
}

void fail(PythonHandler& handler, hrmr_reply& reply, py::error_already_set& error) {
  const py::object& exception = error.value();
  // Python before 3.12 keeps the traceback apart from the exception.
  if (error.trace()) PyException_SetTraceback(exception.ptr(), error.trace().ptr());
  if (reply.values.has_value() && py::hasattr(exception, "hrmr_error_code")) {
    // hrmr.CommandError: an answer like any other, and nothing to be logged.
    const auto code = exception.attr("hrmr_error_code").cast<std::string>();
    reply.writer.fail_as(code, py::str(exception).cast<std::string>());
    return;
  }
  reply.writer.fail(500, "module '" + handler.module_name + "' failed: " + describe(exception));
  try {
    handler.report(handler.module_name, handler.name, exception);
  } catch (py::error_already_set& unreported) {
    unreported.discard_as_unraisable("hrmr: reporting an exception of a handler");
  }
}

// What we have against an answer has no line of the module in its traceback. So it says whose it
// was.
void set_refusal(const PythonHandler& handler, const py::builtin_exception& refused) {
  refused.set_error();
  const std::string text = std::string(refused.what()) + " (the handler of " + handler.name + ")";
  if (PyErr_ExceptionMatches(PyExc_TypeError) != 0) PyErr_SetString(PyExc_TypeError, text.c_str());
  if (PyErr_ExceptionMatches(PyExc_ValueError) != 0)
    PyErr_SetString(PyExc_ValueError, text.c_str());
}

// Runs a call into Python, and makes an error reply of what it throws.
template <class Call>
int run_guarded(PythonHandler& handler, hrmr_reply& reply, const Call& call) {
  try {
    try {
      call();
    } catch (py::error_already_set&) {
      throw;
    } catch (py::builtin_exception& refused) {
      set_refusal(handler, refused);
      throw py::error_already_set();
    }
  } catch (py::error_already_set& error) {
    fail(handler, reply, error);
  } catch (abi::__forced_unwind&) {
    stay_for_ever();
  }
  return HRMR_OK;
}

}  // namespace

int PythonHandler::call(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& handler = *static_cast<PythonHandler*>(context);
  return run_guarded(handler, *reply, [&] {
    write_result(*reply, handler.function(PythonRequest(*request, handler.prefix_bytes)));
  });
}

int PythonHandler::call_command(const hrmr_call* call, hrmr_reply* reply, void* context) {
  auto& handler = *static_cast<PythonHandler*>(context);
  return run_guarded(handler, *reply, [&] {
    py::list arguments(call->count);
    for (size_t i = 0; i < call->count; ++i) {
      arguments[i] = py::bytes(call->arguments[i].data, call->arguments[i].size);
    }
    write_value(*reply->values, handler.function(std::move(arguments)));
  });
}

}  // namespace hrmr::bind
