// http: a static web server (RFC 9110), as a module like any other. `hrmr` loads it with the folder
// of --static, or of `root` in [modules.http] of hrmr.toml; docs/http.md is its manual.
//
// It answers every GET and HEAD that no longer prefix claims: another module's route "GET /api/"
// wins over this one's "GET ". Other methods are none of its routes, and so the host's to refuse,
// with an Allow that knows the routes of all modules.
//
// There is no way out of the folder. A path is percent-decoded once; what could be read as
// something else than the name of a file below the folder is refused (http/path.h); what is left is
// opened by the kernel under the rule that the walk never leaves the folder (http/file.h), so that
// a symbolic link cannot either.
//
// What is in the cache is answered on the event loop. All else blocks, and so the handler asks to
// be called again on the pool (Reply::to_pool).
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <hrmr/module.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "http/conditional.h"
#include "http/content_types.h"
#include "http/encoding.h"
#include "http/fields.h"
#include "http/file.h"
#include "http/file_cache.h"
#include "http/path.h"
#include "http/ranges.h"
#include "http/representation.h"
#include "http/settings.h"

namespace {

using http::CacheKey;
using http::Coding;
using http::File;
using http::FileCache;
using http::Path;
using http::PathKind;
using http::Representation;
using std::string_view;

// A cached answer is led back to the disk this often at least: a sibling that appears, or a link
// that leads elsewhere now, is noticed by then. What the file itself says is checked at each
// request, unless check_ms says otherwise.
constexpr int64_t kResolveMs = 1000;
// Entries of the cache with an open descriptor.
constexpr size_t kOpenFilesMax = 256;
// What nobody asked for in this time leaves the cache, and its descriptor is closed.
constexpr uint32_t kSweepMs = 10'000;

// What load hands to the handlers. The folder is opened anew for each walk, by its path: a site
// that is rebuilt is often deleted and made again, or a link that is switched over.
struct Site {
  explicit Site(http::Settings chosen)
      : settings(std::move(chosen)),
        cache({settings.cache_bytes, settings.cache_entries, kOpenFilesMax}) {
    if (::getrandom(&boundary_seed, sizeof boundary_seed, 0) != sizeof boundary_seed)
      boundary_seed = reinterpret_cast<uintptr_t>(this);
  }

  const http::Settings settings;
  FileCache cache;
  uint64_t boundary_seed = 0;
  std::atomic<uint64_t> boundaries{0};
};

int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return http::nanoseconds_of(now);
}

// --- errors and redirects ---

// A short page. What was said of the reply so far stays.
void answer_error(hrmr::Reply& reply, int status, string_view message) {
  reply.status(status).header("X-Content-Type-Options", "nosniff");
  reply.header("Cache-Control", "no-cache").write(message).write("\n");
}

void answer_not_found(hrmr::Reply& reply) { answer_error(reply, 404, "404: nothing here"); }

// `code`: the errno of an open that failed.
void answer_not_opened(hrmr::Reply& reply, int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EXDEV:  // a symbolic link that leads out of the folder
    case ELOOP:
    case EAGAIN:
    case ENXIO:   // a socket
    case ENODEV:  // a device that nobody drives
      return answer_not_found(reply);
    case EACCES:
    case EPERM:
      return answer_error(reply, 403, "403: the server may not read this file");
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      reply.header("Retry-After", "1");
      return answer_error(reply, 503, "503: the server has too many files open; try again");
    default:
      answer_error(reply, 500, std::string("500: cannot open this file: ") + std::strerror(code));
  }
}

// Relative links in an index page need the slash. Location is built from the decoded path, never
// from the target: "//elsewhere.example" would lead the browser there.
void answer_redirect(const hrmr::Request& request, hrmr::Reply& reply, string_view path) {
  std::string location = "/" + http::encode_path(path) + "/";
  if (!request.query().empty()) location.append("?").append(request.query());
  reply.header("Location", location);
  answer_error(reply, 301, "301: moved to " + location);
}

// False: answered, for what is no path of a file that may be seen.
bool is_servable(PathKind kind, hrmr::Reply& reply) {
  if (kind == PathKind::kFile || kind == PathKind::kFolder) return true;
  if (kind == PathKind::kMalformed) {
    answer_error(reply, 400, "400: this is not a path of a file");
  } else {
    answer_not_found(reply);
  }
  return false;
}

// --- a representation, sent ---

// What is asked for how; the parts of an answer need some of both.
struct Asked {
  const hrmr::Request& request;
  const http::Fields& fields;
  Site& site;
  bool is_head;
};

void send_bytes(const Representation& content, const http::ByteRange& part, hrmr::Reply& reply) {
  if (content.is_in_memory) {
    reply.write(string_view(content.bytes).substr(part.first, part.size()));
  } else {
    reply.send_file(content.file.fd(), part.first, part.size());
    if (reply.result() == HRMR_OK) return;
    // It has just become shorter, or there is no descriptor left.
    reply.fail(503, "503: the file cannot be sent at this moment; try again");
  }
}

// RFC 9110 section 14.6. Nobody can foresee the boundary, so no file can be made to contain it.
void send_parts(const Asked& asked, const Representation& content, const http::Ranges& ranges,
                hrmr::Reply& reply) {
  uint64_t mixed =
      asked.site.boundary_seed +
      asked.site.boundaries.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  std::string boundary = "hrmr-";
  for (int shift = 60; shift >= 0; shift -= 4) boundary += "0123456789abcdef"[mixed >> shift & 15];

  reply.header("Content-Type", "multipart/byteranges; boundary=" + boundary);
  string_view line_end = "";
  for (const http::ByteRange& part : ranges) {
    reply.write(line_end).write("--").write(boundary).write("\r\nContent-Type: ");
    reply.write(content.content_type).write("\r\nContent-Range: ");
    reply.write(http::ContentRangeText(part, content.size).view()).write("\r\n\r\n");
    send_bytes(content, part, reply);
    line_end = "\r\n";
  }
  reply.write("\r\n--").write(boundary).write("--\r\n");
}

// What a 304 says too (RFC 9110 section 15.4.5).
void say_validators(const Asked& asked, const Representation& content, hrmr::Reply& reply) {
  const std::string& cache_control = asked.site.settings.cache_control;
  reply.header("ETag", content.etag.view());
  if (!cache_control.empty()) reply.header("Cache-Control", cache_control);
  if (content.varies) reply.header("Vary", "Accept-Encoding");
}

void say_what_it_is(const Representation& content, hrmr::Reply& reply) {
  reply.header("Last-Modified", content.last_modified.view()).header("Accept-Ranges", "bytes");
  reply.header("X-Content-Type-Options", "nosniff");
  if (content.coding != Coding::kIdentity)
    reply.header("Content-Encoding", http::name_of(content.coding));
}

void answer_content(const Asked& asked, const Representation& content, hrmr::Reply& reply) {
  const http::Conditions& conditions = asked.fields.conditions();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  const http::Validators validators{content.etag.etag(), content.modified_s, now.tv_sec};
  const http::Verdict verdict = http::judge(conditions, validators);
  if (verdict == http::Verdict::kNotModified) {
    reply.status(304);
    return say_validators(asked, content, reply);
  }
  if (verdict == http::Verdict::kFailed)
    return answer_error(reply, 412, "412: the file is not the one that the request is meant for");

  // Section 14.2: GET only, and only if If-Range does not say otherwise.
  http::Ranges ranges;
  const string_view range = asked.fields.range();
  if (!asked.is_head && http::was_sent(range) &&
      http::range_applies(conditions.if_range, validators))
    ranges = http::parse_ranges(range, content.size);
  if (ranges.kind == http::RangeKind::kUnsatisfiable) {
    reply.header("Content-Range", http::ContentRangeText(content.size).view());
    reply.header("Accept-Ranges", "bytes");
    return answer_error(reply, 416, "416: the file does not reach that far");
  }
  if (ranges.kind == http::RangeKind::kParts) reply.status(206);
  say_validators(asked, content, reply);
  say_what_it_is(content, reply);
  if (ranges.count > 1) return send_parts(asked, content, ranges, reply);
  reply.header("Content-Type", content.content_type);
  if (ranges.count == 1) {
    const http::ByteRange& part = ranges.parts[0];
    reply.header("Content-Range", http::ContentRangeText(part, content.size).view());
    send_bytes(content, part, reply);
  } else if (content.size > 0) {
    send_bytes(content, {0, content.size - 1}, reply);
  }
}

// --- from the disk ---

struct Opened {
  File file;
  struct stat facts {};
  int code = 0;  // errno, when it is not open

  bool is_regular() const { return file.is_open() && S_ISREG(facts.st_mode); }
  bool is_folder() const { return file.is_open() && S_ISDIR(facts.st_mode); }
};

Opened open_and_look(int root, const char* path) {
  Opened opened;
  opened.file = File(http::open_beneath(root, path));
  if (opened.file.is_open() && ::fstat(opened.file.fd(), &opened.facts) == 0) return opened;
  opened.code = errno;
  opened.file = File();
  return opened;
}

// The file that a path means: itself, or the index of a folder. Not open: answered already.
Opened open_plain(const Asked& asked, int root, PathKind kind, Path& path, hrmr::Reply& reply) {
  Opened opened = open_and_look(root, path.is_empty() ? "." : path.c_str());
  if (!opened.file.is_open()) {
    answer_not_opened(reply, opened.code);
    return opened;
  }
  if (opened.is_folder() && kind == PathKind::kFile) {
    answer_redirect(asked.request, reply, path.view());
    return {};
  }
  if (opened.is_folder()) {
    const size_t folder_bytes = path.size();
    opened.file = File();
    string_view names = asked.site.settings.index;
    for (string_view name = http::take_name(names); !name.empty(); name = http::take_name(names)) {
      path.truncate(folder_bytes);
      if (!(path.is_empty() || path.append('/')) || !path.append(name)) continue;
      opened = open_and_look(root, path.c_str());
      if (opened.is_regular()) return opened;
    }
    if (opened.file.is_open() || opened.code == 0) opened.code = ENOENT;
    answer_not_opened(reply, opened.code);
    return {};
  }
  if (opened.is_regular() && kind == PathKind::kFile) return opened;
  answer_not_found(reply);
  return {};
}

// The best of what the client accepts: `plain` itself or a sibling. A sibling that is older than
// its file, to the second, is a leftover of an earlier edit.
bool choose_coding(const Asked& asked, int root, Path& path, Opened& plain,
                   Representation& content) {
  Opened siblings[http::kCodings];
  const size_t plain_bytes = path.size();
  if (asked.site.settings.is_precompressed) {
    for (const Coding coding : {Coding::kBrotli, Coding::kGzip}) {
      path.truncate(plain_bytes);
      if (!path.append(http::suffix_of(coding))) continue;
      Opened sibling = open_and_look(root, path.c_str());
      if (!sibling.is_regular() || sibling.facts.st_mtime < plain.facts.st_mtime) continue;
      siblings[static_cast<size_t>(coding)] = std::move(sibling);
      content.varies = true;
    }
    path.truncate(plain_bytes);
  }
  const http::Accepted accepted = http::parse_accept_encoding(asked.fields.accept_encoding());
  for (size_t i = 0; i < accepted.count; ++i) {
    Opened& sibling = siblings[static_cast<size_t>(accepted.order[i])];
    const bool is_plain = accepted.order[i] == Coding::kIdentity;
    if (!is_plain && !sibling.file.is_open()) continue;
    content.coding = accepted.order[i];
    content.plain = http::identity_of(plain.facts);
    content.identity = is_plain ? content.plain : http::identity_of(sibling.facts);
    content.file = is_plain ? std::move(plain.file) : std::move(sibling.file);
    return true;
  }
  return false;
}

// Reads all of it; false when it changed meanwhile.
bool read_whole(Representation& content) {
  const auto size = static_cast<size_t>(content.identity.size);
  content.bytes.resize(size);
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::pread(content.file.fd(), content.bytes.data() + filled, size - filled,
                                static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw std::runtime_error(std::string("cannot read a file: ") + std::strerror(errno));
    if (got == 0) return false;
    filled += static_cast<size_t>(got);
  }
  struct stat facts {};
  return ::fstat(content.file.fd(), &facts) == 0 && http::identity_of(facts) == content.identity;
}

// Small files are read now, so that what is sent and what is said of it fit together. One that does
// not hold still for that is sent from the disk, with a tag that promises nothing.
void take_bytes(const Asked& asked, Representation& content) {
  content.is_settled = http::is_settled(content.identity, now_ns());
  if (content.identity.size <= asked.site.settings.cache_file_bytes) {
    content.is_in_memory = read_whole(content);
    if (!content.is_in_memory) content.is_settled = false;
  }
  if (content.is_in_memory) {
    content.file = File();
  } else {
    content.bytes = std::string();
  }
}

void describe(Representation& content, const Asked& asked, string_view name) {
  const http::Identity& identity = content.identity;
  const std::string folder = asked.site.settings.root + "/";
  content.plain_path = folder + std::string(name);
  content.path = content.plain_path + std::string(http::suffix_of(content.coding));
  content.content_type = http::content_type_of(name);
  content.size = identity.size;
  // Never later than the Date of the reply (RFC 9110 section 8.8.2.1).
  const int64_t now_s = now_ns() / 1'000'000'000;
  const int64_t modified_s = identity.modified_ns / 1'000'000'000;
  content.modified_s = modified_s < now_s ? modified_s : now_s;
  content.last_modified = http::DateText(content.modified_s);
  content.resolved_ms.store(monotonic_ms(), std::memory_order_relaxed);
}

// The walk to the file, what is found there, and the answer. Blocks. `path` grows behind what the
// key shows of it.
void answer_from_disk(const Asked& asked, const CacheKey& key, Path& path, hrmr::Reply& reply) {
  const PathKind kind = key.is_folder ? PathKind::kFolder : PathKind::kFile;
  const File root(::open(asked.site.settings.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) return answer_not_opened(reply, errno);
  Opened plain = open_plain(asked, root.fd(), kind, path, reply);
  if (!plain.file.is_open()) return;

  auto content = std::make_unique<Representation>();
  if (!choose_coding(asked, root.fd(), path, plain, *content)) {
    if (content->varies) reply.header("Vary", "Accept-Encoding");
    return answer_error(reply, 406, "406: the file is not there in a coding that is accepted");
  }
  describe(*content, asked, path.view());
  // Once a second this is all there is to do for a cached file.
  if (const FileCache::Pin known = asked.site.cache.find(key);
      known && known->is_same_as(*content)) {
    known->resolved_ms.store(monotonic_ms(), std::memory_order_relaxed);
    return answer_content(asked, *known, reply);
  }
  take_bytes(asked, *content);
  const http::Identity& identity = content->identity;
  content->etag =
      http::EtagText(identity.inode, identity.size, identity.modified_ns, !content->is_settled);
  answer_content(asked, *content, reply);
  if (content->is_settled) asked.site.cache.insert(key, std::move(content));
}

// --- handlers ---

// Whether what is cached is what is on the disk. By a look at the names, which the kernel has in
// memory after the first request; or, with check_ms, by nothing but the time that has passed.
bool is_current(const Representation& content, int64_t check_ms) {
  const int64_t age_ms = monotonic_ms() - content.resolved_ms.load(std::memory_order_relaxed);
  if (check_ms > 0) return age_ms < check_ms;
  if (age_ms >= kResolveMs) return false;
  struct stat facts {};
  if (::stat(content.plain_path.c_str(), &facts) != 0) return false;
  if (http::identity_of(facts) != content.plain) return false;
  if (content.coding == Coding::kIdentity) return true;
  return ::stat(content.path.c_str(), &facts) == 0 && http::identity_of(facts) == content.identity;
}

void serve(const hrmr::Request& request, hrmr::Reply& reply, Site& site) {
  Path path;
  const PathKind kind = http::decode_path(request.path(), path);
  if (!is_servable(kind, reply)) return;
  const http::Fields fields(request);
  const http::Accepted accepted = http::parse_accept_encoding(fields.accept_encoding());
  const CacheKey key{path.view(), kind == PathKind::kFolder, accepted.key()};
  const Asked asked{request, fields, site, request.method() == "HEAD"};
  if (const FileCache::Pin pin = site.cache.find(key);
      pin && is_current(*pin, site.settings.check_ms))
    return answer_content(asked, *pin, reply);
  if (reply.to_pool()) return;
  answer_from_disk(asked, key, path, reply);
}

void sweep(Site& site) { site.cache.sweep(); }

// --- load ---

std::string absolute_path(string_view path) {
  if (path.front() == '/') return std::string(path);
  const std::unique_ptr<char, decltype(&std::free)> current(::getcwd(nullptr, 0), &std::free);
  if (current == nullptr)
    throw std::runtime_error(std::string("cannot tell the current folder: ") +
                             std::strerror(errno));
  return std::string(current.get()).append("/").append(path);
}

http::Settings read_settings(const hrmr::Module& module) {
  http::Settings settings;
  module.config_keys({"root", "index", "cache_control", "precompressed", "cache_entries",
                      "cache_bytes", "cache_file_bytes", "check_ms"});
  const auto with = [&module](const char* key, const auto& take) {
    const string_view text = module.config(key);
    if (text.data() != nullptr) take(string_view(key), text);
  };
  with("index",
       [&](string_view key, string_view text) { settings.index = http::parse_index(key, text); });
  with("cache_control", [&](string_view key, string_view text) {
    settings.cache_control = http::parse_header_value(key, text);
  });
  with("precompressed", [&](string_view key, string_view text) {
    settings.is_precompressed = http::parse_switch(key, text);
  });
  with("cache_entries", [&](string_view key, string_view text) {
    settings.cache_entries = http::parse_number(key, text, http::kCacheEntriesMax);
  });
  with("cache_bytes", [&](string_view key, string_view text) {
    settings.cache_bytes = http::parse_size(key, text, http::kCacheBytesMax);
  });
  with("cache_file_bytes", [&](string_view key, string_view text) {
    settings.cache_file_bytes = http::parse_size(key, text, http::kCacheFileBytesMax);
  });
  with("check_ms", [&](string_view key, string_view text) {
    settings.check_ms = static_cast<int64_t>(http::parse_number(key, text, http::kCheckMsMax));
  });
  const string_view root = module.config("root");
  if (root.empty())
    throw std::runtime_error(
        "no folder to serve: pass --static DIR, or set `root` in [modules.http] of hrmr.toml");
  settings.root = absolute_path(root);
  const File folder(::open(settings.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open())
    throw std::runtime_error("cannot serve the folder " + settings.root + ": " +
                             std::strerror(errno) + "; pass another one with --static DIR");
  return settings;
}

std::unique_ptr<Site> load(hrmr::Module& module) {
  auto site = std::make_unique<Site>(read_settings(module));
  module.route("GET ", serve, *site);
  module.route("HEAD ", serve, *site);
  module.every(kSweepMs, sweep, *site, hrmr::kPool);
  return site;
}

}  // namespace

HRMR_MODULE("http", "2.0", load)
