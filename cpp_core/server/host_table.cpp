#include "server/host_table.h"

#include "modules/native_loader.h"

namespace hrmr::server {
namespace {

int code(wire::WriteResult result) { return static_cast<int>(result); }
std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }

int reply_write(hrmr_reply* reply, hrmr_bytes bytes) {
  return code(reply->writer.write(view(bytes)));
}
char* reply_reserve(hrmr_reply* reply, size_t size) { return reply->writer.reserve(size); }
int reply_commit(hrmr_reply* reply, size_t size) { return code(reply->writer.commit(size)); }
int reply_status(hrmr_reply* reply, int status) { return code(reply->writer.set_status(status)); }
int reply_header(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
  return code(reply->writer.add_header(view(name), view(value)));
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
  return host;
}

}  // namespace

const hrmr_host& host_table() {
  static const hrmr_host table = make_host_table();
  return table;
}

}  // namespace hrmr::server
