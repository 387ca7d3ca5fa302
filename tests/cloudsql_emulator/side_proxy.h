// tests/cloudsql_emulator/side_proxy.h -- the listeners on ADDRESS:3307.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/connection_table.h"
#include "tests/cloudsql_emulator/side_connection.h"

namespace sidepool::emulator {

// Thread-safe. One thread a listener, one a connection.
class SideProxy {
 public:
  SideProxy(SideServices services, int port) : services_(std::move(services)), port_(port) {}
  ~SideProxy();
  SideProxy(const SideProxy&) = delete;
  SideProxy& operator=(const SideProxy&) = delete;

  // Opens and closes listeners until they are what Instances::listeners() says. Established connections stay.
  Status sync();
  ConnectionTable& connections() { return connections_; }
  int port() const { return port_; }

 private:
  struct Listener {
    int fd = -1;
    std::string instance;
    std::thread thread;
  };

  Status open(const std::string& address, const std::string& instance);
  void accept_loop(int listen_fd, const std::string& instance);
  void start_connection(int fd, const std::string& instance);
  void live(const std::shared_ptr<Slot>& slot, Endpoint endpoint);
  void join_finished();
  static void close_listener(Listener& listener);

  SideServices services_;
  const int port_;
  std::mutex mutex_;
  std::map<std::string, Listener> listeners_;  // by address
  ConnectionTable connections_;
  std::mutex threads_mutex_;  // guards the two below
  std::map<const Slot*, std::thread> running_;
  std::vector<std::thread> finished_;  // to be joined
};

}  // namespace sidepool::emulator
