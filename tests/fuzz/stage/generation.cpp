#include "generation.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace hrmr::fuzz {

using modules::RouteFraming;
using modules::Run;

namespace {

constexpr uint64_t kFileOffset = 100;
constexpr size_t kFileBytes = 70'000;  // of it, in a reply

std::string file_content() {
  std::string content;
  for (size_t i = 0; i < kFileOffset + 2 * kFileBytes; ++i) {
    content += static_cast<char>('a' + i % 23);
  }
  return content;
}

// One file for all, which lives as long as the process.
int open_file() {
  const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  const std::string content = file_content();
  HRMR_CHECK_EQ(::write(fd, content.data(), content.size()), content.size());
  return fd;
}

constexpr size_t kMuchBytes = 200 * 1024;

hrmr_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

uint32_t hash_of(std::string_view bytes, uint32_t hash = 0x811c9dc5u) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return hash;
}

// What is written of it is taken off `text`.
void send_half_of(hrmr_reply* reply, std::string& text) {
  const std::string part = text.substr(0, text.size() / 2);
  server::host_table().write(reply, bytes_of(part));
  text.erase(0, part.size());
}

void send_piece_of(hrmr_reply* reply, std::string& text) {
  send_half_of(reply, text);
  const int result = server::host_table().flush(reply, 0);
  HRMR_CHECK(result == HRMR_OK || result == HRMR_BUSY || result == HRMR_GONE);
}

std::string numbers_of(const Value& value) {
  return std::to_string(value.count) + " " + std::to_string(value.hash);
}

std::string much_of(const Value& value) { return numbers_of(value) + std::string(kMuchBytes, 'x'); }

// The result of the last call.
int write_value(const Value& value, hrmr_reply* reply) {
  const hrmr_host& host = server::host_table();
  switch (value.part->act) {
    case Act::kSayMuch:
      return host.value_bytes(reply, bytes_of(much_of(value)));
    case Act::kSayNil:
      return host.value_nil(reply);
    case Act::kSayError:
      return host.value_error(reply, HRMR_BYTES("SPEC"), bytes_of(numbers_of(value)));
    case Act::kFail:
    case Act::kHalf:
      host.value_list(reply, 2);
      return host.value_integer(reply, 1);
    default:
      break;
  }
  host.value_list(reply, 4);
  host.value_simple(reply, bytes_of(value.part->prefix));
  host.value_integer(reply, static_cast<int64_t>(value.count));
  host.value_integer(reply, value.hash);
  host.value_map(reply, 1);
  host.value_bytes(reply, HRMR_BYTES("even"));
  return host.value_boolean(reply, static_cast<int>(value.count % 2 == 0));
}

void complete(const Shelved& shelved) {
  const hrmr_host& host = server::host_table();
  const int result = shelved.value.has_value() ? write_value(*shelved.value, shelved.reply)
                                               : host.write(shelved.reply, bytes_of(shelved.text));
  HRMR_CHECK_EQ(result, HRMR_OK);
  host.complete(shelved.reply);
}

std::string bulk_of(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

// The list that write_value writes, as it is sent.
std::string list_of(const Value& value, wire::ValueForm form) {
  const std::string name = value.part->prefix;
  const std::string count = std::to_string(value.count);
  const std::string hash = std::to_string(value.hash);
  const bool is_even = value.count % 2 == 0;
  if (form == wire::ValueForm::kJson) {
    return "[\"" + name + "\"," + count + "," + hash +
           ",{\"even\":" + (is_even ? "true" : "false") + "}]\n";
  }
  const std::string list = "*4\r\n+" + name + "\r\n:" + count + "\r\n:" + hash + "\r\n";
  if (form == wire::ValueForm::kResp3) {
    return list + "%1\r\n" + bulk_of("even") + (is_even ? "#t\r\n" : "#f\r\n");
  }
  return list + "*2\r\n" + bulk_of("even") + (is_even ? ":1\r\n" : ":0\r\n");
}

}  // namespace

const std::vector<Part>& parts() {
  static const std::vector<Part> all = {
      {"IN ", RouteFraming::kLine, Run::kInline, Act::kSay},
      {"POOL ", RouteFraming::kLine, Run::kPool, Act::kSay},
      {"PY ", RouteFraming::kLine, Run::kPython, Act::kSay},
      {"BIG ", RouteFraming::kLine, Run::kInline, Act::kSayMuch},
      {"PBIG ", RouteFraming::kLine, Run::kPool, Act::kSayMuch},
      {"FILE ", RouteFraming::kLine, Run::kInline, Act::kSayFile},
      {"PFILE ", RouteFraming::kLine, Run::kPool, Act::kSayFile},
      {"BYE ", RouteFraming::kLine, Run::kInline, Act::kClose},
      {"PBYE ", RouteFraming::kLine, Run::kPool, Act::kClose},
      {"LATE ", RouteFraming::kLine, Run::kInline, Act::kDefer},
      {"PLATE ", RouteFraming::kLine, Run::kPool, Act::kDefer},
      {"STREAM ", RouteFraming::kLine, Run::kPool, Act::kStream},
      {"BROKEN ", RouteFraming::kLine, Run::kPool, Act::kStreamFail},
      {"BAD ", RouteFraming::kLine, Run::kPool, Act::kFail},
      {"MOVE ", RouteFraming::kLine, Run::kInline, Act::kMove},
      {"LMOVE ", RouteFraming::kLine, Run::kInline, Act::kMoveDefer},
      {"SMOVE ", RouteFraming::kLine, Run::kInline, Act::kMoveStream},
      {"GET /in", RouteFraming::kHttp, Run::kInline, Act::kSay},
      {"GET /pool", RouteFraming::kHttp, Run::kPool, Act::kSay},
      {"HEAD /in", RouteFraming::kHttp, Run::kInline, Act::kSay},
      {"HEAD /pool", RouteFraming::kHttp, Run::kPool, Act::kSay},
      {"POST /in", RouteFraming::kHttp, Run::kInline, Act::kSay},
      {"POST /pool", RouteFraming::kHttp, Run::kPython, Act::kSay},
      {"GET /big", RouteFraming::kHttp, Run::kPool, Act::kSayMuch},
      {"GET /file", RouteFraming::kHttp, Run::kPool, Act::kSayFile},
      {"HEAD /file", RouteFraming::kHttp, Run::kInline, Act::kSayFile},
      {"GET /bye", RouteFraming::kHttp, Run::kInline, Act::kClose},
      {"GET /late", RouteFraming::kHttp, Run::kInline, Act::kDefer},
      {"POST /late", RouteFraming::kHttp, Run::kPool, Act::kDefer},
      {"GET /stream", RouteFraming::kHttp, Run::kPool, Act::kStream},
      {"GET /broken", RouteFraming::kHttp, Run::kPool, Act::kStreamFail},
      {"GET /bad", RouteFraming::kHttp, Run::kInline, Act::kFail},
      {"GET /move", RouteFraming::kHttp, Run::kInline, Act::kMove},
      {"POST /move", RouteFraming::kHttp, Run::kInline, Act::kMoveDefer},
      {"GET /smove", RouteFraming::kHttp, Run::kInline, Act::kMoveStream},
      {"RAW ", RouteFraming::kRaw, Run::kPool, Act::kSay},
      {"C.IN", RouteFraming::kCommand, Run::kInline, Act::kSay},
      {"C.POOL", RouteFraming::kCommand, Run::kPool, Act::kSay},
      {"C.PY", RouteFraming::kCommand, Run::kPython, Act::kSay},
      {"C.BIG", RouteFraming::kCommand, Run::kInline, Act::kSayMuch},
      {"C.PBIG", RouteFraming::kCommand, Run::kPool, Act::kSayMuch},
      {"C.NIL", RouteFraming::kCommand, Run::kPool, Act::kSayNil},
      {"C.ERR", RouteFraming::kCommand, Run::kInline, Act::kSayError},
      {"C.BYE", RouteFraming::kCommand, Run::kInline, Act::kClose},
      {"C.PBYE", RouteFraming::kCommand, Run::kPool, Act::kClose},
      {"C.LATE", RouteFraming::kCommand, Run::kInline, Act::kDefer},
      {"C.PLATE", RouteFraming::kCommand, Run::kPool, Act::kDefer},
      {"C.BAD", RouteFraming::kCommand, Run::kPool, Act::kFail},
      {"C.HALF", RouteFraming::kCommand, Run::kInline, Act::kHalf},
  };
  return all;
}

const Part* part_of(RouteFraming framing, std::string_view bytes) {
  for (const Part& part : parts()) {
    if (part.framing == framing && starts_with(bytes, part.prefix)) return &part;
  }
  return nullptr;
}

const Part* http_part_of(const std::string& method, const std::string& path) {
  const Part* own = part_of(RouteFraming::kHttp, method + " " + path);
  if (method != "HEAD") return own;
  const Part* get = part_of(RouteFraming::kHttp, "GET " + path);
  if (get == nullptr || own == nullptr) return get == nullptr ? own : get;
  return std::strlen(get->prefix) + 1 > std::strlen(own->prefix) ? get : own;
}

const Part* command_part_of(std::string_view name) {
  for (const Part& part : parts()) {
    if (part.framing == RouteFraming::kCommand && equals_ignoring_case(part.prefix, name)) {
      return &part;
    }
  }
  return nullptr;
}

size_t arguments_min(const Part& part) { return part.act == Act::kSayError ? 1 : 0; }

Value value_of(const Part& part, std::span<const wire::Text> arguments) {
  Value value{&part, arguments.size(), hash_of({})};
  for (const std::string_view argument : arguments) {
    value.hash = hash_of(argument, hash_of(std::to_string(argument.size()), value.hash));
  }
  return value;
}

std::string error_text(std::string_view code, std::string_view message, wire::ValueForm form) {
  const std::string is(code), why(message);
  if (form != wire::ValueForm::kJson) return "-" + is + " " + why + "\r\n";
  return R"({"error":{"code":")" + is + R"(","message":")" + why + "\"}}\n";
}

std::string answer_to(const Value& value, wire::ValueForm form) {
  const bool is_json = form == wire::ValueForm::kJson;
  const std::string failure = "module 'spec' failed";
  switch (value.part->act) {
    case Act::kSayMuch:
      return is_json ? "\"" + much_of(value) + "\"\n" : bulk_of(much_of(value));
    case Act::kSayNil:
      return is_json ? "null\n" : form == wire::ValueForm::kResp3 ? "_\r\n" : "$-1\r\n";
    case Act::kSayError:
      return error_text("SPEC", numbers_of(value), form);
    case Act::kFail:
      return error_text("ERR", failure, form);
    case Act::kHalf:
      return error_text(
          "ERR", failure + ": a list, map or set has fewer elements than were promised", form);
    default:
      return list_of(value, form);
  }
}

std::string answer_to(const Part& part, std::string_view bytes) {
  std::string text(part.prefix);
  text += std::to_string(bytes.size()) + " " + std::to_string(hash_of(bytes));
  if (part.act == Act::kSayMuch) text.append(kMuchBytes, 'x');
  if (part.act == Act::kSayFile) text += file_content().substr(kFileOffset, kFileBytes);
  return text + "\n";
}

void Shelf::put(Shelved shelved) {
  HRMR_CHECK(shelved.reply != nullptr);
  if (completes_at_once) return complete(shelved);
  replies.push_back(std::move(shelved));
}

void Shelf::answer(bool newest) {
  if (replies.empty()) return;
  const Shelved shelved = std::move(newest ? replies.back() : replies.front());
  if (newest) {
    replies.pop_back();
  } else {
    replies.pop_front();
  }
  complete(shelved);
}

void Shelf::send_piece() {
  if (replies.empty()) return;
  Shelved& oldest = replies.front();
  if (oldest.value.has_value()) return;  // a value is sent whole
  if (!std::exchange(oldest.streams, true)) {
    HRMR_CHECK_EQ(server::host_table().stream(oldest.reply, -1), HRMR_OK);
  }
  send_piece_of(oldest.reply, oldest.text);
}

void Shelf::drop() {
  if (replies.empty()) return;
  hrmr_reply* reply = replies.front().reply;
  replies.pop_front();
  server::host_table().drop(reply);
}

Generation::Generation(uint64_t number, Shelf& shelf, bool has_raw) : module_("spec", number, 1) {
  for (const Part& part : parts()) {
    if (part.framing == RouteFraming::kRaw && !has_raw) continue;
    roles_.push_back(std::make_unique<Role>(Role{&part, &shelf}));
    auto route = std::make_unique<modules::Route>();
    route->prefix = part.prefix;
    route->framing = part.framing;
    route->run = part.run;
    if (part.framing == RouteFraming::kCommand) {
      route->command = call;
      route->arguments_min = static_cast<uint32_t>(arguments_min(part));
      route->arguments_max = kArgumentsMax;
    } else {
      route->function = handle;
    }
    route->context = roles_.back().get();
    route->module = &module_;
    routes_.push_back(std::move(route));
  }
}

std::vector<modules::RouteTable::Entry> Generation::entries(modules::RouteMark mark) const {
  std::vector<modules::RouteTable::Entry> all;
  for (const auto& route : routes_) all.push_back({route.get(), mark});
  return all;
}

int Generation::handle(const hrmr_request* request, hrmr_reply* reply, void* context) {
  const Role& role = *static_cast<const Role*>(context);
  const hrmr_host& host = server::host_table();
  const std::string_view bytes(request->bytes.data, request->bytes.size);
  std::string text = answer_to(*role.part, bytes);
  switch (role.part->act) {
    case Act::kSay:
    case Act::kSayMuch:
      return host.write(reply, bytes_of(text));
    case Act::kSayFile: {
      static const int file = open_file();
      const size_t own_bytes = text.size() - kFileBytes - 1;
      host.write(reply, bytes_of({text.data(), own_bytes}));
      host.send_file(reply, file, kFileOffset, kFileBytes);
      return host.write(reply, HRMR_BYTES("\n"));
    }
    case Act::kClose:
      host.close(reply);
      return host.write(reply, bytes_of(text));
    case Act::kDefer:
      role.shelf->put({host.defer(reply), std::move(text), {}});
      return HRMR_OK;
    case Act::kMove:
    case Act::kMoveDefer:
      send_half_of(reply, text);
      // What is written and returned in the first of the two calls does not matter.
      if (host.to_pool(reply) == HRMR_OK) return HRMR_FAILED;
      if (role.part->act == Act::kMove) return host.write(reply, bytes_of(text));
      role.shelf->put({host.defer(reply), answer_to(*role.part, bytes), {}});
      return HRMR_OK;
    case Act::kMoveStream:
      if (host.to_pool(reply) == HRMR_OK) return HRMR_FAILED;
      [[fallthrough]];
    case Act::kStream:
      HRMR_CHECK_EQ(host.stream(reply, -1), HRMR_OK);
      send_piece_of(reply, text);
      send_piece_of(reply, text);
      return host.write(reply, bytes_of(text));
    case Act::kStreamFail:
      HRMR_CHECK_EQ(host.stream(reply, -1), HRMR_OK);
      send_piece_of(reply, text);
      return HRMR_FAILED;
    default:
      break;
  }
  host.write(reply, HRMR_BYTES("half an answer"));
  return HRMR_FAILED;
}

int Generation::call(const hrmr_call* call, hrmr_reply* reply, void* context) {
  const Role& role = *static_cast<const Role*>(context);
  const hrmr_host& host = server::host_table();
  std::vector<wire::Text> arguments;
  for (size_t i = 0; i < call->count; ++i) {
    arguments.emplace_back(std::string_view(call->arguments[i].data, call->arguments[i].size));
  }
  const Value value = value_of(*role.part, arguments);
  HRMR_CHECK_EQ(host.to_pool(reply), HRMR_TOO_LATE);
  if (role.part->act == Act::kDefer) {
    role.shelf->put({host.defer(reply), {}, value});
    return HRMR_OK;
  }
  if (role.part->act == Act::kClose) host.close(reply);
  HRMR_CHECK_EQ(write_value(value, reply), HRMR_OK);
  return role.part->act == Act::kFail ? HRMR_FAILED : HRMR_OK;
}

}  // namespace hrmr::fuzz
