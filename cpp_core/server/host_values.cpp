// The functions of the host table that a command answers with.
#include <string_view>

#include "server/host_table.h"

namespace hrmr::server {
namespace {

using wire::ValueWriter;
using wire::WriteResult;

std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }

// One call on the value; `what` it was, for people.
template <class Write>
int put(hrmr_reply* reply, std::string_view what, const Write& write) {
  if (!reply->values.has_value()) {
    if (reply->refusal.empty()) reply->refusal = "a route answers with a body, not with a value";
    return HRMR_BAD_ARGUMENT;
  }
  const WriteResult result = write(*reply->values);
  if (result == WriteResult::kTooLate && reply->refusal.empty()) {
    reply->refusal.append(what).append(" came behind the end of the value");
  }
  return note_refusal(reply, result, what);
}

int value_nil(hrmr_reply* reply) {
  return put(reply, "a nil", [](ValueWriter& value) { return value.nil(); });
}
int value_boolean(hrmr_reply* reply, int given) {
  return put(reply, "a boolean", [=](ValueWriter& value) { return value.boolean(given != 0); });
}
int value_integer(hrmr_reply* reply, int64_t given) {
  return put(reply, "an integer", [=](ValueWriter& value) { return value.integer(given); });
}
int value_double(hrmr_reply* reply, double given) {
  return put(reply, "a double", [=](ValueWriter& value) { return value.number(given); });
}
int value_bytes(hrmr_reply* reply, hrmr_bytes bytes) {
  return put(reply, "a text", [=](ValueWriter& value) { return value.bulk(view(bytes)); });
}
int value_simple(hrmr_reply* reply, hrmr_bytes text) {
  return put(reply, "a simple text", [=](ValueWriter& value) { return value.simple(view(text)); });
}
int value_verbatim(hrmr_reply* reply, hrmr_bytes format, hrmr_bytes text) {
  return put(reply, "a verbatim text",
             [=](ValueWriter& value) { return value.verbatim(view(format), view(text)); });
}
int value_error(hrmr_reply* reply, hrmr_bytes code, hrmr_bytes message) {
  return put(reply, "an error",
             [=](ValueWriter& value) { return value.error(view(code), view(message)); });
}
int value_list(hrmr_reply* reply, size_t count) {
  return put(reply, "a list", [=](ValueWriter& value) { return value.begin_list(count); });
}
int value_map(hrmr_reply* reply, size_t pairs) {
  return put(reply, "a map", [=](ValueWriter& value) { return value.begin_map(pairs); });
}
int value_set(hrmr_reply* reply, size_t count) {
  return put(reply, "a set", [=](ValueWriter& value) { return value.begin_set(count); });
}

}  // namespace

void fill_value_functions(hrmr_host& host) {
  host.value_nil = value_nil;
  host.value_boolean = value_boolean;
  host.value_integer = value_integer;
  host.value_double = value_double;
  host.value_bytes = value_bytes;
  host.value_simple = value_simple;
  host.value_verbatim = value_verbatim;
  host.value_error = value_error;
  host.value_list = value_list;
  host.value_map = value_map;
  host.value_set = value_set;
}

}  // namespace hrmr::server
