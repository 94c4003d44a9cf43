// Core: hrmr._core.Core, the server as Python sees it. Its Python face is python/hrmr/_core.pyi.
//
// Threads: any that holds the GIL; what may wait gives the GIL up.
#pragma once

#include <pybind11/pybind11.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bind/python_loader.h"
#include "server/server.h"

namespace hrmr::bind {

namespace py = pybind11;

// An operating error of the core; hrmr._core.CoreError in Python.
class CoreError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Core {
 public:
  using LogLine = std::tuple<int, py::str, py::str>;

  explicit Core(const py::dict& options);
  ~Core();

  py::list start();
  uint16_t port() const { return server_->port(); }
  py::list reload(std::vector<std::string> only);
  bool adopt(int fd);
  void request_reload();
  void request_shutdown();
  int stopped_fd() const { return server_->stopped_fd(); }
  bool stop();
  py::list set_app_routes(py::list routes);
  void write_log(int level, const std::string& source, std::string message);
  std::optional<std::vector<LogLine>> wait_logs(uint32_t timeout_ms);
  py::list modules();

 private:
  void refuse_in_load() const;

  std::unique_ptr<server::Server> server_;
  AppLoader* app_loader_ = nullptr;  // the server's
  uint64_t app_revision_ = 0;
  bool is_started_ = false;
  pid_t process_;
};

}  // namespace hrmr::bind
