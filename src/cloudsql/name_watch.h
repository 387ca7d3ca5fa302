// cloudsql/name_watch.h -- a thread that keeps asking what the DNS names of instances stand for.
#pragma once
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "src/cloudsql/log_gate.h"
#include "src/cloudsql/name_lookup.h"
#include "src/cloudsql/name_poll.h"
#include "src/cloudsql/refresh.h"

namespace sidepool::cloudsql {

// A thread of its own, because a dead name server takes seconds, and certificates of other instances must not
// wait for it. It starts with the first name that can change: Google's own names never do.
//
// Any thread may call any method. stop() and the destructor wait for the lookup that runs; `dns` should end
// soon then.
class NameWatch {
 public:
  // Called on the watch's thread, outside its lock. Both may call back into this object, but for stop().
  using Moved = std::function<void(const std::string& name, const NameAnswer& now)>;
  using Warn = std::function<void(std::string_view text)>;

  NameWatch(DnsLookups dns, std::function<Now()> now, Moved moved, Warn warn);
  ~NameWatch() { stop(); }
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

  // `answer` is what the name stands for as far as the caller knows; tells of every change from there on. An
  // error: no thread could be had.
  Status watch(const std::string& name, const NameAnswer& answer);
  void forget(const std::string& name);
  // Looks at the clock again (a test moved it).
  void wake();
  void stop();

 private:
  struct Watched {
    NamePoll poll;
    LogGate gate;
  };
  void run();
  void ask(const std::string& name, std::unique_lock<std::mutex>& lock);

  const DnsLookups dns_;
  const std::function<Now()> now_;
  const Moved moved_;
  const Warn warn_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<std::string, Watched> names_;
  bool woken_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace sidepool::cloudsql
