#include "bind/python_request.h"

#include "base/text.h"

namespace hrmr::bind {

PythonRequest::PythonRequest(const hrmr_request& request, size_t prefix_bytes)
    : whole_(request.bytes.data, request.bytes.size),
      framing_(request.framing),
      peer_(request.peer.data, request.peer.size),
      prefix_{0, prefix_bytes},
      rest_(span_of(request.rest, request)),
      method_(span_of(request.method, request)),
      target_(span_of(request.target, request)),
      path_(span_of(request.path, request)),
      query_(span_of(request.query, request)),
      body_(span_of(request.body, request)) {
  // HEAD that a GET route answers has one byte more in front of the path.
  if (framing_ == HRMR_FRAMING_HTTP && request.rest.data != nullptr) {
    prefix_.size = static_cast<size_t>(request.rest.data - request.bytes.data);
  }
  headers_.reserve(request.header_count);
  for (size_t i = 0; i < request.header_count; ++i) {
    const hrmr_header& header = request.headers[i];
    headers_.emplace_back(span_of(header.name, request), span_of(header.value, request));
  }
}

PythonRequest::Span PythonRequest::span_of(hrmr_bytes part, const hrmr_request& request) const {
  if (part.data == nullptr || part.size == 0) return {};
  return {static_cast<size_t>(part.data - request.bytes.data), part.size};
}

std::string_view PythonRequest::view(Span span) const {
  return std::string_view(PyBytes_AS_STRING(whole_.ptr()) + span.begin, span.size);
}

py::bytes PythonRequest::cut(Span span) const {
  const std::string_view part = view(span);
  return py::bytes(part.data(), part.size());
}

py::str PythonRequest::latin1(Span span) const {
  const std::string_view part = view(span);
  PyObject* text =
      PyUnicode_DecodeLatin1(part.data(), static_cast<Py_ssize_t>(part.size()), nullptr);
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

py::str PythonRequest::text() const {
  const std::string_view part = view(framing_ == HRMR_FRAMING_HTTP ? body_ : rest_);
  PyObject* decoded =
      PyUnicode_DecodeUTF8(part.data(), static_cast<Py_ssize_t>(part.size()), "replace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::str PythonRequest::prefix() const { return latin1(prefix_); }

py::str PythonRequest::framing() const {
  if (framing_ == HRMR_FRAMING_HTTP) return py::str("http");
  return py::str(framing_ == HRMR_FRAMING_RAW ? "raw" : "line");
}

py::dict PythonRequest::headers() const {
  py::dict all;
  for (const auto& [name, value] : headers_) {
    std::string lower(view(name));
    for (char& c : lower) c = ascii_lower(c);
    const py::str key(lower);
    const py::str text = latin1(value);
    all[key] = all.contains(key) ? py::str("{}, {}").format(all[key], text) : text;
  }
  return all;
}

}  // namespace hrmr::bind
