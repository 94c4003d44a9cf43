// files: notes kept in a file, as an example of functions that may block: they run on the pool.
//
//     $ printf 'NOTE.ADD buy milk\nNOTE.LIST\nCLOSE\n' | nc 127.0.0.1 8080
//     noted
//     1 note
//     buy milk
//
// [modules.files] of hrmr.toml: `root`, the folder of the file (default: the current one), and
// `name`, the file's name (default: hrmr-notes.txt). Nothing is created before the first NOTE.ADD.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <hrmr/module.hpp>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

// Clients of this example shall not be able to fill the disk.
constexpr off_t kFileBytesMax = 1024 * 1024;

// Pool functions of one module run on several threads at once; the mutex keeps a reader from
// seeing half of what a writer adds. Another process that appends to the file does no harm:
// O_APPEND writes a note in one piece.
struct Notes {
  std::string path;
  std::mutex mutex;
};

class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
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

std::string failure(const char* tried, const std::string& path) {
  return std::string("cannot ") + tried + " " + path + ": " + std::strerror(errno);
}

void add_note(const hrmr::Request& request, hrmr::Reply& reply, Notes& notes) {
  const std::string_view text = request.rest();
  if (text.size() < 2 || text.front() != ' ') {
    reply.fail(400, "NOTE.ADD needs a text: NOTE.ADD buy milk");
    return;
  }
  std::string line(text.substr(1));
  line += '\n';

  const std::lock_guard lock(notes.mutex);
  const File file(notes.path, O_WRONLY | O_CREAT | O_APPEND);
  struct stat facts {};
  if (!file.is_open() || ::fstat(file.fd(), &facts) != 0) {
    reply.fail(500, failure("open", notes.path));
    return;
  }
  if (facts.st_size + static_cast<off_t>(line.size()) > kFileBytesMax) {
    reply.fail(507, "the notes are full: 1 MiB is the bound of this example");
    return;
  }
  const ssize_t written = ::write(file.fd(), line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size())) {
    if (written >= 0) errno = ENOSPC;  // a short write to a file: the disk is full
    reply.fail(500, failure("write to", notes.path));
    return;
  }
  reply.write("noted\n");
}

// All of the file. An exception that leaves a handler is an error reply with its text.
std::string read_notes(Notes& notes) {
  const std::lock_guard lock(notes.mutex);
  const File file(notes.path, O_RDONLY);
  if (!file.is_open() && errno == ENOENT) return {};  // no note yet
  if (!file.is_open()) throw std::runtime_error(failure("open", notes.path));

  std::string text(kFileBytesMax, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::read(file.fd(), text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::runtime_error(failure("read", notes.path));
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  text.resize(filled);
  return text;
}

void list_notes(const hrmr::Request&, hrmr::Reply& reply, Notes& notes) {
  const std::string text = read_notes(notes);
  size_t count = 0;
  for (const char c : text) count += c == '\n' ? 1 : 0;
  // The count comes first, so that a client knows how many lines follow.
  reply.write(std::to_string(count)).write(count == 1 ? " note\n" : " notes\n").write(text);
}

std::unique_ptr<Notes> load(hrmr::Module& module) {
  auto notes = std::make_unique<Notes>();
  module.config_keys({"root", "name"});  // any other is misspelt, and refuses the load
  const std::string root(module.config("root", "."));
  struct stat facts {};
  if (::stat(root.c_str(), &facts) != 0) throw std::runtime_error(failure("find", root));
  if (!S_ISDIR(facts.st_mode)) throw std::runtime_error(root + " is not a folder");

  notes->path = root == "." ? "" : root + "/";
  notes->path += module.config("name", "hrmr-notes.txt");
  module.route("NOTE.ADD", add_note, *notes, hrmr::kPool);
  module.route("NOTE.LIST", list_notes, *notes, hrmr::kPool);
  return notes;
}

}  // namespace

HRMR_MODULE("files", "1.0", load)
