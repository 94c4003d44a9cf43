// http: a static web server, as a module like any other. `hrmr` loads it with the folder of
// --static, or of `root` in [modules.http] of hrmr.toml.
//
// It answers every GET and HEAD that no longer prefix claims: another module's route
// "GET /api/" wins over this one's "GET ". It runs on the pool, because opening and reading a
// file may block.
//
// There is no way out of the folder. A path is percent-decoded once; what could be read as
// something else than the name of a file below the folder is refused (see decode_path); what is
// left is opened by the kernel under the rule that the walk never leaves the folder (see
// open_beneath), so that a symbolic link cannot either.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <hrmr/module.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace {

using std::string_view;

// What load hands to the handlers. The folder is opened anew for each request, by its path: a
// site that is rebuilt is often deleted and made again, or a link that is switched over.
struct Site {
  std::string root;  // absolute, so that a later chdir changes nothing
};

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_;
};

// --- from the request's target to a path ---

enum class PathKind {
  kFile,       // names a file, or a folder without its slash
  kFolder,     // ends in a slash
  kHidden,     // below a name with a leading dot: answered as if it were not there
  kMalformed,  // not a path that an honest client sends
};

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Appends `segment`, percent-decoded once, to `out`. False for an escape that is none, and for
// bytes that no name may have here: a slash that came encoded, a backslash (a slash to some
// clients and proxies), NUL and the other control characters.
bool append_decoded(string_view segment, std::string& out) {
  for (size_t i = 0; i < segment.size(); ++i) {
    char c = segment[i];
    if (c == '%') {
      if (segment.size() - i < 3) return false;
      const int high = hex_value(segment[i + 1]);
      const int low = hex_value(segment[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '/' || c == '\\') return false;
    out += c;
  }
  return true;
}

// "http://host/a/b" (RFC 9112 section 3.2.2: every server must take it) is "/a/b".
string_view without_authority(string_view target) {
  for (const string_view scheme : {string_view("http://"), string_view("https://")}) {
    if (target.size() < scheme.size()) continue;
    if (::strncasecmp(target.data(), scheme.data(), scheme.size()) != 0) continue;
    const size_t slash = target.find('/', scheme.size());
    return slash == string_view::npos ? string_view("/") : target.substr(slash);
  }
  return target;
}

// Makes "/docs/a%20b.html" "docs/a b.html" in `out`: relative, decoded, without empty segments;
// empty for the folder itself. "." and ".." are refused, not resolved: clients resolve them
// before they ask, and whoever does not is trying something.
PathKind decode_path(string_view target, std::string& out) {
  target = without_authority(target);
  if (target.empty() || target.front() != '/') return PathKind::kMalformed;
  bool is_hidden = false;
  bool ends_in_slash = true;
  while (!target.empty()) {
    target.remove_prefix(1);  // the slash in front of this segment
    const string_view segment = target.substr(0, target.find('/'));
    target.remove_prefix(segment.size());
    ends_in_slash = segment.empty();
    if (segment.empty()) continue;

    if (!out.empty()) out += '/';
    const size_t start = out.size();
    if (!append_decoded(segment, out)) return PathKind::kMalformed;
    const string_view name = string_view(out).substr(start);
    if (name == "." || name == "..") return PathKind::kMalformed;
    // RFC 8615 puts one dotted folder at the root of a site.
    if (name.front() == '.' && !(start == 0 && name == ".well-known")) is_hidden = true;
  }
  if (is_hidden) return PathKind::kHidden;
  return ends_in_slash ? PathKind::kFolder : PathKind::kFile;
}

// The reverse, for Location: everything that is not plainly part of a name is escaped.
std::string encode_path(string_view path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  static constexpr char kPlain[] = "-._~/";
  std::string out;
  for (const char c : path) {
    const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || std::strchr(kPlain, c) != nullptr;
    if (is_plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

// --- from a path to an open file ---

// O_NONBLOCK: opening a FIFO must not wait for its writer.
constexpr int kOpenFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

// For kernels (before 5.6) and sandboxes without openat2: one step at a time, and no symbolic
// link at all, since where one leads could not be told without a race.
int open_step_by_step(int root, const std::string& path) {
  File folder(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  size_t start = 0;
  while (folder.is_open()) {
    const size_t slash = path.find('/', start);
    const std::string name = path.substr(start, slash - start);
    if (slash == std::string::npos)
      return ::openat(folder.fd(), name.c_str(), kOpenFlags | O_NOFOLLOW);
    folder =
        File(::openat(folder.fd(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    start = slash + 1;
  }
  return -1;
}

// Opens `path`, relative to `root`, for reading, and only if the walk to it stays below `root`.
// A descriptor, or -1 with errno.
int open_beneath(int root, const std::string& path) {
#ifdef SYS_openat2
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed during the walk, and the kernel cannot tell whether it stayed
  // below; so ask again, not for ever.
  for (int tries = 0; tries < 16; ++tries) {
    const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != EAGAIN && errno != EINTR) break;
  }
  if (errno != ENOSYS && errno != EPERM) return -1;
#endif
  return open_step_by_step(root, path);
}

// --- what is said about a file ---

struct ContentType {
  string_view suffix;
  string_view type;
};

constexpr ContentType kContentTypes[] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"webmanifest", "application/manifest+json"},
    {"wasm", "application/wasm"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/markdown; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"ics", "text/calendar; charset=utf-8"},
    {"xml", "application/xml"},
    {"xhtml", "application/xhtml+xml"},
    {"atom", "application/atom+xml"},
    {"rss", "application/rss+xml"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"ico", "image/x-icon"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"ttf", "font/ttf"},
    {"otf", "font/otf"},
    {"mp3", "audio/mpeg"},
    {"m4a", "audio/mp4"},
    {"ogg", "audio/ogg"},
    {"opus", "audio/ogg"},
    {"wav", "audio/wav"},
    {"flac", "audio/flac"},
    {"mp4", "video/mp4"},
    {"m4v", "video/mp4"},
    {"webm", "video/webm"},
    {"mov", "video/quicktime"},
    {"pdf", "application/pdf"},
    {"zip", "application/zip"},
    {"gz", "application/gzip"},
    {"tar", "application/x-tar"},
    {"7z", "application/x-7z-compressed"},
    {"rtf", "application/rtf"},
    {"epub", "application/epub+zip"},
};

string_view content_type_of(string_view path) {
  const size_t dot = path.rfind('.');
  if (dot != string_view::npos) {
    const string_view suffix = path.substr(dot + 1);
    for (const ContentType& known : kContentTypes) {
      if (known.suffix.size() == suffix.size() &&
          ::strncasecmp(known.suffix.data(), suffix.data(), suffix.size()) == 0)
        return known.type;
    }
  }
  return "application/octet-stream";
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7). Not strftime: the process may have
// set a locale in which Sunday is Sonntag.
std::string http_date(time_t time) {
  static constexpr char kDays[] = "SunMonTueWedThuFriSat";
  static constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  tm utc{};
  ::gmtime_r(&time, &utc);
  char text[64];
  const int size = std::snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                                 kDays + 3 * utc.tm_wday, utc.tm_mday, kMonths + 3 * utc.tm_mon,
                                 utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return std::string(text, static_cast<size_t>(size));
}

// --- answers ---

constexpr string_view kNotFoundPage = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>404: nothing here</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif }
  body { display: grid; min-height: 90vh; place-content: center; padding: 1rem }
</style>
<h1>404: nothing here</h1>
<p>The served folder has no file of that name. <a href="/">To the start page</a>
</html>
)";

void answer_not_found(hrmr::Reply& reply) {
  reply.status(404).header("Content-Type", "text/html; charset=utf-8");
  reply.header("Cache-Control", "no-cache").write(kNotFoundPage);
}

// `code`: the errno of an open that failed.
void answer_not_opened(hrmr::Reply& reply, int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EXDEV:  // a symbolic link that leads out of the folder
    case ELOOP:
    case EAGAIN:
    case ENXIO:  // a socket
      return answer_not_found(reply);
    case EACCES:
    case EPERM:
      reply.fail(403, "the server may not read this file");
      return;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      reply.fail(503, "the server has too many files open; try again");
      return;
    default:
      reply.fail(500, std::string("cannot open this file: ") + std::strerror(code));
  }
}

// Relative links in an index page need the slash. Location is built from the decoded path, never
// from the target: "//elsewhere.example" would lead the browser there.
void answer_redirect(const hrmr::Request& request, hrmr::Reply& reply, string_view path) {
  std::string location = "/" + encode_path(path) + "/";
  if (!request.query().empty()) location.append("?").append(request.query());
  reply.status(301).header("Location", location).header("Cache-Control", "no-cache");
  reply.write("moved to ").write(location).write("\n");
}

// As nginx does by default, the date must be the very one we sent: a file that was replaced by an
// older one is a change too. RFC 9110 section 13.1.3: not asked when there is If-None-Match.
bool is_unchanged(const hrmr::Request& request, string_view last_modified) {
  return request.header("If-None-Match").empty() &&
         request.header("If-Modified-Since") == last_modified;
}

// Straight from the file into the reply. The file may shrink or grow meanwhile: what was read is
// what is sent, up to the size that it had.
void send_content(int fd, size_t size, hrmr::Reply& reply) {
  char* room = reply.reserve(size);
  if (room == nullptr) return;
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::pread(fd, room + filled, size - filled, static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw std::runtime_error(std::string("cannot read this file: ") + std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  reply.commit(filled);
}

// For HEAD the host counts the body and sends none of it, so it is counted without being read.
void count_content(size_t size, hrmr::Reply& reply) {
  constexpr size_t kPieceBytes = 64 * 1024;
  while (size > 0 && reply.result() == HRMR_OK) {
    const size_t piece = size < kPieceBytes ? size : kPieceBytes;
    if (reply.reserve(piece) != nullptr) reply.commit(piece);
    size -= piece;
  }
}

void answer_file(const hrmr::Request& request, hrmr::Reply& reply, const File& file,
                 const struct stat& facts, string_view path) {
  const std::string last_modified = http_date(facts.st_mtime);
  reply.header("Last-Modified", last_modified);
  reply.header("Cache-Control", "no-cache");  // keep it, but ask each time
  if (is_unchanged(request, last_modified)) {
    reply.status(304);
    return;
  }
  reply.header("Content-Type", content_type_of(path));
  reply.header("X-Content-Type-Options", "nosniff");
  const auto size = static_cast<size_t>(facts.st_size);
  if (request.method() == "HEAD") {
    count_content(size, reply);
  } else if (size > 0) {
    send_content(file.fd(), size, reply);
  }
  if (reply.result() == HRMR_TOO_LARGE)
    reply.fail(500, "this file is larger than one reply may be");
}

void serve(const hrmr::Request& request, hrmr::Reply& reply, Site& site) {
  std::string path;
  const PathKind kind = decode_path(request.path(), path);
  if (kind == PathKind::kMalformed) {
    reply.fail(400, "this is not a path of a file");
    return;
  }
  if (kind == PathKind::kHidden) return answer_not_found(reply);

  const File root(::open(site.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) return answer_not_opened(reply, errno);
  File file(open_beneath(root.fd(), path.empty() ? "." : path));
  struct stat facts {};
  if (!file.is_open() || ::fstat(file.fd(), &facts) != 0) return answer_not_opened(reply, errno);

  if (S_ISDIR(facts.st_mode)) {
    if (kind == PathKind::kFile) return answer_redirect(request, reply, path);
    path += path.empty() ? "index.html" : "/index.html";
    file = File(open_beneath(root.fd(), path));
    if (!file.is_open() || ::fstat(file.fd(), &facts) != 0) return answer_not_opened(reply, errno);
  } else if (kind == PathKind::kFolder) {
    return answer_not_found(reply);
  }
  if (!S_ISREG(facts.st_mode)) return answer_not_found(reply);
  answer_file(request, reply, file, facts, path);
}

std::string absolute_path(string_view path) {
  if (path.front() == '/') return std::string(path);
  const std::unique_ptr<char, decltype(&std::free)> current(::getcwd(nullptr, 0), &std::free);
  if (current == nullptr)
    throw std::runtime_error(std::string("cannot tell the current folder: ") +
                             std::strerror(errno));
  return std::string(current.get()).append("/").append(path);
}

std::unique_ptr<Site> load(hrmr::Module& module) {
  const string_view root = module.config("root");
  if (root.empty())
    throw std::runtime_error(
        "no folder to serve: pass --static DIR, or set `root` in [modules.http] of hrmr.toml");
  auto site = std::make_unique<Site>();
  site->root = absolute_path(root);
  const File folder(::open(site->root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open())
    throw std::runtime_error("cannot serve the folder " + site->root + ": " + std::strerror(errno) +
                             "; pass another one with --static DIR");

  module.route("GET ", serve, *site, hrmr::kPool);
  module.route("HEAD ", serve, *site, hrmr::kPool);
  return site;
}

}  // namespace

HRMR_MODULE("http", "1.0", load)
