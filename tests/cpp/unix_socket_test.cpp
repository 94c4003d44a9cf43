#include "net/unix_socket.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

using namespace hrmr;
using namespace hrmr::net;

namespace {

// A folder of its own, removed again.
struct Folder {
  Folder() {
    char name[] = "/tmp/hrmr-unix-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name = "a.sock") const { return path + "/" + name; }
  std::string path;
};

bool connects(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (path[0] == '@') {
    address.sun_path[0] = '\0';
  } else {
    ++size;
  }
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
}

bool exists(const std::string& path) {
  struct stat about {};
  return ::lstat(path.c_str(), &about) == 0;
}

UnixSocket opened(const std::string& path, mode_t mode = 0600) {
  Result<UnixSocket> result = UnixSocket::open(path, mode);
  REQUIRE_MESSAGE(result.is_ok(), result.status().message());
  return result.take();
}

std::string error_of(const std::string& path) {
  return UnixSocket::open(path, 0600).status().message();
}

}  // namespace

TEST_CASE("a Unix socket has its mode whatever the umask, and is gone when it is closed") {
  const Folder folder;
  const mode_t old_mask = ::umask(0);
  UnixSocket socket = opened(folder.file(), 0640);
  ::umask(old_mask);
  struct stat about {};
  REQUIRE(::stat(folder.file().c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0640);
  CHECK(connects(folder.file()));
  socket.close();
  CHECK_FALSE(exists(folder.file()));
  socket.close();
}

TEST_CASE("a second server is refused, and the first goes on") {
  const Folder folder;
  const UnixSocket first = opened(folder.file());
  CHECK(error_of(folder.file()) ==
        "another server listens on " + folder.file() +
            " already: stop it, or choose another path as unix (--unix)");
  CHECK(exists(folder.file()));
  CHECK(connects(folder.file()));
}

TEST_CASE("what a dead server left behind is replaced") {
  const Folder folder;
  {
    const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, folder.file().data(), folder.file().size());
    REQUIRE(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  REQUIRE(exists(folder.file()));
  const UnixSocket socket = opened(folder.file());
  CHECK(connects(folder.file()));
}

TEST_CASE("a file that is no socket is left alone") {
  const Folder folder;
  std::ofstream(folder.file()) << "precious";
  CHECK(error_of(folder.file()) ==
        folder.file() + " is there and is no socket: choose another as unix (--unix)");
  CHECK(std::filesystem::file_size(folder.file()) == 8);
  std::filesystem::create_symlink(folder.file(), folder.file("link"));
  CHECK(error_of(folder.file("link")).find("is no socket") != std::string::npos);
}

TEST_CASE("a socket that another server has put in our place is not removed") {
  const Folder folder;
  UnixSocket first = opened(folder.file());
  REQUIRE(::unlink(folder.file().c_str()) == 0);
  const UnixSocket second = opened(folder.file());
  first.close();
  CHECK(exists(folder.file()));
  CHECK(connects(folder.file()));
}

TEST_CASE("each loop's share is of the same socket") {
  const Folder folder;
  UnixSocket socket = opened(folder.file());
  Result<Fd> shared = socket.share();
  REQUIRE(shared.is_ok());
  const Fd share = shared.take();
  REQUIRE(connects(folder.file()));
  const Fd accepted(::accept(share.get(), nullptr, nullptr));
  CHECK(accepted.is_open());
  const Peer peer = unix_peer_of(accepted.get());
  CHECK(std::string(peer.name) ==
        "unix:pid=" + std::to_string(::getpid()) + ",uid=" + std::to_string(::getuid()));
  CHECK(peer.name_size == std::strlen(peer.name));
  CHECK(peer.is_local);
  CHECK(peer.is_unix);
  CHECK(peer.network == 0);
}

TEST_CASE("paths that are too long, empty or in no folder are refused with a sentence") {
  const Folder folder;
  CHECK(error_of("").find("1 to 107 bytes") != std::string::npos);
  CHECK(error_of("@").find("1 to 107 bytes") != std::string::npos);
  CHECK(error_of("/" + std::string(107, 'x')).find("1 to 107 bytes") != std::string::npos);
  const std::string longest = folder.path + "/" + std::string(107 - folder.path.size() - 1, 'x');
  { const UnixSocket fits = opened(longest); }
  CHECK(error_of(folder.path + "/no/a.sock") ==
        "cannot listen on " + folder.path + "/no/a.sock: No such file or directory");
}

TEST_CASE("an abstract name has no file, and is free again when it is closed") {
  const std::string name = "@hrmr-test-" + std::to_string(::getpid());
  UnixSocket socket = opened(name);
  CHECK(connects(name));
  CHECK(error_of(name).find("another server listens on") == 0);
  socket.close();
  CHECK_FALSE(connects(name));
  const UnixSocket again = opened(name);
}
