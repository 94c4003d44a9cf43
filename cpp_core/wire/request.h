// Request: one framed request, as views into the bytes it was read from. Framing: the protocols of
// one port.
//
// Lifetime: views into the connection's input buffer; valid until that buffer is consumed or grows.
// Threads: a value; no sharing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/limits.h"

namespace hrmr::wire {

enum class Framing : uint8_t {
  kLine = 1,
  kHttp = 2,
  kRaw = 3,  // up to here the numbers of HRMR_FRAMING_* in abi.h
  kResp = 4  // one RESP2 or RESP3 array of bulk strings: a command's call
};

// How the value that a command answers with is written. kNone: the request is for a route, whose
// bytes are the reply.
enum class ValueForm : uint8_t { kNone, kResp2, kResp3, kJson };

// Laid out like hrmr_bytes, so that header arrays are handed to modules as they are.
struct Text {
  const char* data = nullptr;
  size_t size = 0;

  Text() = default;
  Text(std::string_view view)
      : data(view.data()), size(view.size()) {}               // NOLINT(google-explicit-constructor)
  operator std::string_view() const { return {data, size}; }  // NOLINT(google-explicit-constructor)
};

struct Header {
  Text name;
  Text value;
};

// The headers of the request that is being framed. One per framer user (per loop, or per batch
// slot); 32 KB, of
// which a request touches what it has.
struct HeaderTable {
  Header items[limits::kHttpHeaderSlots];
  size_t count = 0;
};

struct Request {
  Framing framing = Framing::kLine;
  std::string_view bytes;  // all of it: a line without its line end; HTTP head as sent, then the
                           // decoded body; a RESP array as sent
  std::string_view name;   // of the command, once it is known to be a command's call
  ValueForm form = ValueForm::kNone;  // of the answer
  bool is_silent = false;             // the client wants no answer (CLIENT REPLY)
  // HTTP only.
  std::string_view method;
  std::string_view target;  // as sent
  std::string_view path;    // of the target up to '?'; "/" where a URL has none
  std::string_view query;   // what follows the '?'; data() is null without one
  std::string_view body;    // decoded
  uint8_t http_minor = 0;   // HTTP/1.x
  bool head_only = false;   // HEAD: the reply has no body
  bool keep_alive = true;   // what the client asks for (RFC 9112 section 9.3)
};

}  // namespace hrmr::wire
