#include "server/host_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "modules/load_call.h"
#include "server/deferred.h"
#include "server/piece.h"

namespace hrmr::server {
namespace {

std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }

const char* reason_of(wire::WriteResult result) {
  if (result == wire::WriteResult::kTooLate) return "the body had begun, or the reply was complete";
  if (result == wire::WriteResult::kTooLarge) {
    return "the reply is too large (for reply_max, --reply-max, or for the length it was given) or "
           "too deep";
  }
  return "it is not valid, or it is the host's to set";
}

int note(hrmr_reply* reply, wire::WriteResult result, std::string_view what) {
  return note_refusal(reply, result, what);
}

// A command answers with a value; bytes of a body would be no answer that its client could read.
bool is_command(hrmr_reply* reply) {
  if (!reply->values.has_value()) return false;
  if (reply->refusal.empty()) reply->refusal = "a command answers with a value, not with a body";
  return true;
}

int reply_write(hrmr_reply* reply, hrmr_bytes bytes) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  return note(reply, reply->writer.write(view(bytes)), "a write");
}
char* reply_reserve(hrmr_reply* reply, size_t size) {
  if (is_command(reply)) return nullptr;
  char* room = reply->writer.reserve(size);
  if (room == nullptr) (void)note(reply, wire::WriteResult::kTooLarge, "a reserve");
  return room;
}
int reply_commit(hrmr_reply* reply, size_t size) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  return note(reply, reply->writer.commit(size), "a commit");
}
int reply_status(hrmr_reply* reply, int status) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  const wire::WriteResult result = reply->writer.set_status(status);
  if (result == wire::WriteResult::kOk) return HRMR_OK;
  return note(reply, result, "status " + std::to_string(status));
}
int reply_header(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  const wire::WriteResult result = reply->writer.add_header(view(name), view(value));
  if (result == wire::WriteResult::kOk) return HRMR_OK;
  return note(reply, result, "header '" + std::string(view(name)) + "'");
}
int refuse_file(hrmr_reply* reply, int result, std::string why) {
  if (reply->refusal.empty()) reply->refusal = "a file was refused: " + std::move(why);
  return result;
}
int reply_send_file(hrmr_reply* reply, int fd, uint64_t offset, uint64_t length) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    return refuse_file(reply, HRMR_BAD_ARGUMENT, "it is no regular file");
  }
  const auto size = static_cast<uint64_t>(status.st_size);
  if (offset > size || length > size - offset) {
    return refuse_file(reply, HRMR_BAD_ARGUMENT, "the range ends behind the file");
  }
  FileRange range;
  range.fd = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!range.fd.is_open()) {
    return refuse_file(reply, HRMR_FAILED, std::generic_category().message(errno));
  }
  range.offset = offset;
  range.left = length;
  return note(reply, reply->writer.send_file(std::move(range)), "a file");
}
int reply_stream(hrmr_reply* reply, int64_t length) {
  if (is_command(reply)) return HRMR_BAD_ARGUMENT;
  return begin_stream(*reply, length);
}
int reply_flush(hrmr_reply* reply, uint32_t wait_ms) { return flush_stream(*reply, wait_ms); }
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
  if (reply->call == nullptr || reply->channel != nullptr) return nullptr;
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
int to_pool(hrmr_reply* reply) {
  // A command's arguments are decoded where they lie, and can be read once.
  const bool is_called_once = reply->values.has_value();
  if (reply->call == nullptr || !reply->call->may_move || is_called_once) return HRMR_TOO_LATE;
  reply->call = nullptr;
  reply->writer.abandon();
  reply->is_for_pool = true;
  return HRMR_OK;
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
  fill_value_functions(host);
  host.extension = extension;
  host.defer = defer;
  host.complete = complete;
  host.drop = drop;
  host.send_file = reply_send_file;
  host.to_pool = to_pool;
  host.stream = reply_stream;
  host.flush = reply_flush;
  return host;
}

}  // namespace

int note_refusal(hrmr_reply* reply, wire::WriteResult result, std::string_view what) {
  if (result != wire::WriteResult::kOk && reply->refusal.empty()) {
    reply->refusal.append(what).append(" was refused: ").append(reason_of(result));
  }
  return static_cast<int>(result);
}

const hrmr_host& host_table() {
  static const hrmr_host table = make_host_table();
  return table;
}

}  // namespace hrmr::server
