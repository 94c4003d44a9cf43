// A whole server on a folder of compiled modules, over real sockets.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"

namespace hrmr::test {

class NativeServer {
 public:
  // With `specs` as the routes of one more module.
  explicit NativeServer(std::vector<Spec> specs = {}, server::Options options = {}) {
    auto owned = std::make_unique<SpecLoader>();
    owned->specs = std::move(specs);
    SpecLoader& loader = *owned;
    std::vector<std::unique_ptr<modules::Loader>> loaders;
    loaders.push_back(std::move(owned));
    options.registry.places = {folder.path()};
    server = std::make_unique<Server>(options, std::move(loaders), nullptr);
    server->announce_inline_module("spec", loader, 1);
    modules::ReloadReport loaded;
    const Status started = server->start(loaded);
    REQUIRE_MESSAGE(started.is_ok(), started.message());
  }
  ~NativeServer() { CHECK(server->stop()); }

  void put(const std::string& name, const std::string& content) {
    replace_file(path(name), content);
  }
  void remove(const std::string& name) { std::filesystem::remove(path(name)); }
  std::string path(const std::string& name) const { return folder / (name + ".so"); }

  std::string reload(const std::string& name) { return summary(report = server->reload({name})); }
  std::string ask(const std::string& line) const {
    Client asking = client();
    asking.send(line + "\n");
    return asking.line();
  }
  Client client() const { return Client(server->port()); }

  // All that was written to the log so far.
  const std::string& log() { return log_ += take_log(server->log()); }
  bool logs(const std::string& text) {
    return eventually([&] { return contains(log(), text); });
  }

  TempFolder folder;
  std::unique_ptr<Server> server;
  modules::ReloadReport report;

 private:
  std::string log_;
};

}  // namespace hrmr::test
