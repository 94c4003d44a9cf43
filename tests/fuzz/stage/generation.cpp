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

uint32_t hash_of(std::string_view bytes) {
  uint32_t hash = 0x811c9dc5u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return hash;
}

// What of it is sent is taken off `text`.
void send_piece_of(hrmr_reply* reply, std::string& text) {
  const hrmr_host& host = server::host_table();
  const std::string part = text.substr(0, text.size() / 2);
  host.write(reply, bytes_of(part));
  text.erase(0, part.size());
  const int result = host.flush(reply, 0);
  HRMR_CHECK(result == HRMR_OK || result == HRMR_BUSY || result == HRMR_GONE);
}

void complete(const Shelved& shelved) {
  const hrmr_host& host = server::host_table();
  HRMR_CHECK_EQ(host.write(shelved.reply, bytes_of(shelved.text)), HRMR_OK);
  host.complete(shelved.reply);
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
      {"RAW ", RouteFraming::kRaw, Run::kPool, Act::kSay},
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

std::string answer_to(const Part& part, std::string_view bytes) {
  std::string text(part.prefix);
  text += std::to_string(bytes.size()) + " " + std::to_string(hash_of(bytes));
  if (part.act == Act::kSayMuch) text.append(kMuchBytes, 'x');
  if (part.act == Act::kSayFile) text += file_content().substr(kFileOffset, kFileBytes);
  return text + "\n";
}

void Shelf::put(hrmr_reply* reply, std::string text) {
  HRMR_CHECK(reply != nullptr);
  Shelved shelved{reply, std::move(text), false};
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
    route->function = handle;
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
  std::string text = answer_to(*role.part, {request->bytes.data, request->bytes.size});
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
      role.shelf->put(host.defer(reply), std::move(text));
      return HRMR_OK;
    case Act::kStream:
      HRMR_CHECK_EQ(host.stream(reply, -1), HRMR_OK);
      send_piece_of(reply, text);
      send_piece_of(reply, text);
      return host.write(reply, bytes_of(text));
    case Act::kStreamFail:
      HRMR_CHECK_EQ(host.stream(reply, -1), HRMR_OK);
      send_piece_of(reply, text);
      return HRMR_FAILED;
    case Act::kFail:
      break;
  }
  host.write(reply, HRMR_BYTES("half an answer"));
  return HRMR_FAILED;
}

}  // namespace hrmr::fuzz
