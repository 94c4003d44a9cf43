#include "bind/python_value.h"

#include <string>

#include "bind/python_handler.h"

namespace hrmr::bind {
namespace {

void expect_element(wire::WriteResult result) {
  expect_ok(result,
            "not a value of a command here: a key of a dict is str, bytes, int, float or bool, and "
            "UTF-8 for HTTP");
}

void write_integer(wire::ValueWriter& out, const py::handle& value) {
  int overflows = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflows);
  if (overflows != 0) throw py::value_error("an int of a command's value has at most 64 bits");
  if (number == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  expect_element(out.integer(number));
}

void write_text(wire::ValueWriter& out, const py::handle& value) {
  Py_ssize_t size = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (utf8 == nullptr) throw py::error_already_set();
  expect_element(out.bulk({utf8, static_cast<size_t>(size)}));
}

// bytes, bytearray, memoryview.
void write_buffer(wire::ValueWriter& out, const py::handle& value) {
  const py::bytes bytes = py::reinterpret_steal<py::bytes>(PyBytes_FromObject(value.ptr()));
  if (!bytes) throw py::error_already_set();
  const auto size = static_cast<size_t>(PyBytes_GET_SIZE(bytes.ptr()));
  expect_element(out.bulk({PyBytes_AS_STRING(bytes.ptr()), size}));
}

void write_map(wire::ValueWriter& out, const py::dict& map) {
  expect_element(out.begin_map(map.size()));
  for (const auto& [key, element] : map) {
    write_value(out, key);
    write_value(out, element);
  }
}

void write_elements(wire::ValueWriter& out, const py::handle& elements) {
  for (const py::handle element : elements) write_value(out, element);
}

}  // namespace

void write_value(wire::ValueWriter& out, const py::handle& value) {
  PyObject* const object = value.ptr();
  if (value.is_none()) {
    expect_element(out.nil());
  } else if (PyBool_Check(object)) {
    expect_element(out.boolean(object == Py_True));
  } else if (PyLong_Check(object)) {
    write_integer(out, value);
  } else if (PyFloat_Check(object)) {
    expect_element(out.number(PyFloat_AS_DOUBLE(object)));
  } else if (PyUnicode_Check(object)) {
    write_text(out, value);
  } else if (PyList_Check(object) || PyTuple_Check(object)) {
    expect_element(out.begin_list(static_cast<size_t>(PySequence_Size(object))));
    write_elements(out, value);
  } else if (PyDict_Check(object)) {
    write_map(out, py::reinterpret_borrow<py::dict>(value));
  } else if (PyAnySet_Check(object)) {
    expect_element(out.begin_set(static_cast<size_t>(PySet_Size(object))));
    write_elements(out, value);
  } else if (PyObject_CheckBuffer(object) != 0) {
    write_buffer(out, value);
  } else {
    throw py::type_error(
        "a command returns None, bool, int, float, str, bytes, list, tuple, dict "
        "or set, not " +
        std::string(Py_TYPE(object)->tp_name));
  }
}

}  // namespace hrmr::bind
