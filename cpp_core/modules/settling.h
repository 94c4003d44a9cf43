// Settling: when a module whose files change may be loaded. It knows no file and no clock: it is
// told what happened and what time it is.
//
// A module is settled when it has been quiet for a moment and none of its files is on hold. A file
// is on hold while it is being written, and for a while after it went away or was found changed by
// somebody who does not know whether the writer is done.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hrmr::modules {

class Settling {
 public:
  // Somebody writes to the file, and will close it.
  void on_written(const std::string& module, const std::string& path, uint64_t now_ms);
  // The file is complete: it was closed, or moved here.
  void on_saved(const std::string& module, const std::string& path, uint64_t now_ms);
  // The file is gone, perhaps for a moment.
  void on_gone(const std::string& module, const std::string& path, uint64_t now_ms);
  // The file is another than before; whether it is complete is not known.
  void on_found(const std::string& module, const std::string& path, uint64_t now_ms);

  // The modules that have settled, by name; they are forgotten here.
  std::vector<std::string> take_settled(uint64_t now_ms);
  bool is_idle() const { return pending_.empty(); }
  bool has(const std::string& module) const { return pending_.contains(module); }

 private:
  struct Pending {
    uint64_t quiet_until_ms = 0;
    std::map<std::string, uint64_t> held_until_ms;  // by path
    bool has_settled(uint64_t now_ms) const;
  };
  void hold(const std::string& module, const std::string& path, uint64_t until_ms);

  std::map<std::string, Pending> pending_;
};

}  // namespace hrmr::modules
