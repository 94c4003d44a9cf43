#include "server/host_table.h"

#include "modules/load_call.h"
#include "server/deferred.h"

namespace hrmr::server {
namespace {

std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }

const char* reason_of(wire::WriteResult result) {
  if (result == wire::WriteResult::kTooLate) return "the body had begun, or the reply was complete";
  if (result == wire::WriteResult::kTooLarge) return "the reply is too large";
  return "it is not valid, or it is the host's to set";
}

int note(hrmr_reply* reply, wire::WriteResult result, std::string_view what) {
  if (result != wire::WriteResult::kOk && reply->refusal.empty()) {
    reply->refusal.append(what).append(" was refused: ").append(reason_of(result));
  }
  return static_cast<int>(result);
}

int reply_write(hrmr_reply* reply, hrmr_bytes bytes) {
  return note(reply, reply->writer.write(view(bytes)), "a write");
}
char* reply_reserve(hrmr_reply* reply, size_t size) {
  char* room = reply->writer.reserve(size);
  if (room == nullptr) (void)note(reply, wire::WriteResult::kTooLarge, "a reserve");
  return room;
}
int reply_commit(hrmr_reply* reply, size_t size) {
  return note(reply, reply->writer.commit(size), "a commit");
}
int reply_status(hrmr_reply* reply, int status) {
  const wire::WriteResult result = reply->writer.set_status(status);
  if (result == wire::WriteResult::kOk) return HRMR_OK;
  return note(reply, result, "status " + std::to_string(status));
}
int reply_header(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
  const wire::WriteResult result = reply->writer.add_header(view(name), view(value));
  if (result == wire::WriteResult::kOk) return HRMR_OK;
  return note(reply, result, "header '" + std::string(view(name)) + "'");
}
int reply_close(hrmr_reply* reply) {
  reply->writer.close_after();
  return HRMR_OK;
}
int reply_fail(hrmr_reply* reply, int status, hrmr_bytes message) {
  if (status < 400 || status > 599) status = 500;
  reply->writer.fail(status, view(message));
  return HRMR_OK;
}
hrmr_reply* defer(hrmr_reply* reply) {
  if (reply->call == nullptr) return nullptr;
  auto* deferred = new Deferred(*reply->call);
  reply->call = nullptr;
  reply->writer.abandon();
  return &deferred->reply();
}
// A reply that is a handler's own is completed by the handler's return.
void complete(hrmr_reply* reply) {
  if (reply != nullptr && reply->deferred != nullptr) reply->deferred->complete();
}
void drop(hrmr_reply* reply) {
  if (reply != nullptr && reply->deferred != nullptr) reply->deferred->drop();
}
const void* extension(const char*) { return nullptr; }

hrmr_host make_host_table() {
  hrmr_host host{};
  host.size = sizeof(hrmr_host);
  host.abi = HRMR_ABI;
  host.version = HRMR_VERSION;
  modules::fill_load_functions(host);
  host.write = reply_write;
  host.reserve = reply_reserve;
  host.commit = reply_commit;
  host.status = reply_status;
  host.header = reply_header;
  host.close = reply_close;
  host.fail = reply_fail;
  host.extension = extension;
  host.defer = defer;
  host.complete = complete;
  host.drop = drop;
  return host;
}

}  // namespace

const hrmr_host& host_table() {
  static const hrmr_host table = make_host_table();
  return table;
}

}  // namespace hrmr::server
