// PythonRequest: hrmr.Request, what a Python handler is called with. Owns one copy of the request's
// bytes, so that a handler may keep it; the attributes are cut from it when they are asked for.
//
// Threads: any that holds the GIL.
#pragma once

#include <hrmr/abi.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hrmr::bind {

namespace py = pybind11;

class PythonRequest {
 public:
  PythonRequest(const hrmr_request& request, size_t prefix_bytes);

  py::bytes bytes() const { return whole_; }
  py::bytes rest() const { return cut(rest_); }
  py::bytes body() const { return cut(body_); }
  py::str text() const;
  py::str prefix() const;
  py::str peer() const { return py::str(peer_); }
  py::str framing() const;
  py::str method() const { return latin1(method_); }
  py::str target() const { return latin1(target_); }
  py::str path() const { return latin1(path_); }
  py::str query() const { return latin1(query_); }
  // Lower-case names; values of a repeated header joined by ", " (RFC 9110 section 5.3).
  py::dict headers() const;

 private:
  struct Span {
    size_t begin = 0;
    size_t size = 0;
  };
  Span span_of(hrmr_bytes part, const hrmr_request& request) const;
  std::string_view view(Span span) const;
  py::bytes cut(Span span) const;
  py::str latin1(Span span) const;

  py::bytes whole_;
  uint32_t framing_;
  std::string peer_;
  Span prefix_;
  Span rest_;
  Span method_;
  Span target_;
  Span path_;
  Span query_;
  Span body_;
  std::vector<std::pair<Span, Span>> headers_;
};

}  // namespace hrmr::bind
