// src/upstream/resolver.h -- host names to addresses, off the loops and without ever keeping anybody waiting.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "src/io/loop.h"
#include "src/io/socket.h"
#include "src/upstream/endpoint.h"

namespace sidepool::upstream {

using Addresses = std::vector<io::SocketAddress>;  // in the order of getaddrinfo (RFC 6724); never empty

// A few threads that call getaddrinfo(3), started when needed, shared by all loops. They are the process's
// own and not libuv's pool, because a loop cannot be closed before its requests in that pool have ended, and
// a dead name server holds getaddrinfo for many seconds: here a lookup that nobody wants any more finishes by
// itself, and the destructor does not wait for it either. Thread-safe.
//
// An answer is used again for the time-to-live that the owner has set (none at first), because getaddrinfo
// does not tell the name server's; a burst of dials then costs one lookup.
class Resolver {
 public:
  // The names are looked up with the C library, so /etc/hosts, nsswitch and search domains hold.
  explicit Resolver(unsigned max_threads = 4);
  // Replaces getaddrinfo in tests: called on the resolver's threads, returns 0 or an EAI_* code.
  using Lookup = std::function<int(const std::string& host, std::uint16_t port, Addresses& found)>;
  Resolver(unsigned max_threads, Lookup lookup);
  // Asks these name servers (see dns::Client; /etc/hosts holds before them), or the system if there are none.
  static std::unique_ptr<Resolver> create(unsigned max_threads, const std::vector<std::string>& servers);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // 0: every lookup asks. Holds for what is kept already, too.
  void set_ttl(Duration ttl);
  // What is known of this name led nowhere: the next lookup asks again.
  void forget(const Endpoint& endpoint);

 private:
  friend class Resolution;
  struct Job;
  struct Shared;
  void submit(std::shared_ptr<Job> job);
  const std::shared_ptr<Shared> shared_;
};

// One lookup on behalf of an object on a loop. Destroying it cancels. Used on the loop's thread.
class Resolution {
 public:
  // Never called from inside start(). May start or destroy the Resolution. An error's reason is "dns".
  using Found = void (*)(void* owner, Result<Addresses> addresses) noexcept;

  Resolution() = default;
  Resolution(const Resolution&) = delete;
  Resolution& operator=(const Resolution&) = delete;
  ~Resolution() { cancel(); }

  // A unix socket or an IP literal needs no lookup; nullopt for everything else.
  static std::optional<Result<Addresses>> without_lookup(const Endpoint& endpoint);
  // A lookup that still runs is cancelled first.
  Status start(Resolver& resolver, io::Loop& loop, const Endpoint& endpoint, void* owner, Found found);
  void cancel() noexcept;

 private:
  static void on_wake(uv_async_t* handle) noexcept;
  std::shared_ptr<Resolver::Job> job_;
  io::Handle<uv_async_t> async_;
  void* owner_ = nullptr;
  Found found_ = nullptr;
};

}  // namespace sidepool::upstream
