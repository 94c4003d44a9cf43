#include "base/mapped_code.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace hrmr {

namespace {

// The lines of a file, read with room of its own. One that is longer than the room is cut.
class LineReader {
 public:
  explicit LineReader(const char* path) : fd_(::open(path, O_RDONLY | O_CLOEXEC)) {}
  ~LineReader() {
    if (fd_ >= 0) ::close(fd_);
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The view lives until the next call. False: there is none any more.
  bool next(std::string_view& line) {
    for (;;) {
      const std::string_view rest(room_ + begin_, end_ - begin_);
      const size_t size = rest.find('\n');
      if (size != std::string_view::npos) {
        line = rest.substr(0, size);
        begin_ += size + 1;
        return true;
      }
      if (!read_more()) return false;
    }
  }

 private:
  bool read_more() {
    std::memmove(room_, room_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == sizeof room_) end_ = 0;
    const ssize_t got = ::read(fd_, room_ + end_, sizeof room_ - end_);
    if (got <= 0) return false;
    end_ += static_cast<size_t>(got);
    return true;
  }

  int fd_;
  size_t begin_ = 0;
  size_t end_ = 0;
  char room_[PATH_MAX + 256];
};

// Takes the digits off the front of `text`. False: there is none.
bool take_number(std::string_view& text, unsigned base, uint64_t& value) {
  const size_t size = text.size();
  value = 0;
  while (!text.empty()) {
    const size_t digit = std::string_view("0123456789abcdef").substr(0, base).find(text.front());
    if (digit == std::string_view::npos) break;
    value = value * base + digit;
    text.remove_prefix(1);
  }
  return text.size() != size;
}

bool take(std::string_view& text, std::string_view expected) {
  if (!starts_with(text, expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

void drop_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  text.remove_prefix(std::min(text.find(' '), text.size()));
}

}  // namespace

// "7f12a000-7f12b000 r-xp 00001000 08:01 1234    /usr/lib/libx.so", in ascending order.
bool find_mapped_code(uint64_t address, MappedCode& found) {
  LineReader maps("/proc/self/maps");
  std::string_view line;
  while (maps.next(line)) {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t offset = 0;
    if (!take_number(line, 16, begin) || !take(line, "-") || !take_number(line, 16, end)) continue;
    if (address < begin || address >= end) continue;
    found.is_executable = line.size() > 3 && line[3] == 'x';  // " r-xp"
    drop_word(line);
    if (!take(line, " ") || !take_number(line, 16, offset)) return false;
    drop_word(line);
    drop_word(line);
    line.remove_prefix(std::min(line.find('/'), line.size()));  // or "[heap]", or nothing
    const std::string_view path = line.substr(0, sizeof found.path - 1);
    std::memcpy(found.path, path.data(), path.size());
    found.path[path.size()] = '\0';
    found.file_offset = address - begin + offset;
    return true;
  }
  return false;
}

PrivateCopy private_copy_at(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view folder = path.substr(0, slash);
  std::string_view file = path.substr(slash + 1);
  const std::string_view folder_name = folder.substr(folder.rfind('/') + 1);
  if (!starts_with(folder_name, "hrmr-") || folder_name.size() != 11) return {};
  PrivateCopy copy;
  copy.module = file.substr(0, file.find('.'));
  file.remove_prefix(copy.module.size());
  uint64_t failures = 0;
  if (!take(file, ".g") || !take_number(file, 10, copy.generation) || !take(file, ".")) return {};
  if (take_number(file, 10, failures) && !take(file, ".")) return {};
  // The kernel adds " (deleted)" when somebody has emptied the folder.
  return starts_with(file, "so") ? copy : PrivateCopy{};
}

}  // namespace hrmr
