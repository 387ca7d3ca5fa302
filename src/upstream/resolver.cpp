// src/upstream/resolver.cpp -- getaddrinfo(3) on threads that nobody waits for.
#include "src/upstream/resolver.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "src/dns/client.h"

namespace sidepool::upstream {

// One lookup. mutex_ guards all members below it. The thread and the Resolution share the job; whoever is
// last frees it.
struct Resolver::Job {
  Job(std::string h, std::uint16_t p) : host(std::move(h)), port(p) {}
  const std::string host;
  const std::uint16_t port;

  std::mutex mutex;
  uv_async_t* wake = nullptr;  // null once the Resolution has lost interest: its loop may be gone
  bool done = false;
  int code = 0;
  int sys = 0;
  Addresses found;

  void answer(int result, int error, Addresses addresses) {
    std::lock_guard lock(mutex);
    code = result, sys = error;
    found = std::move(addresses);
    done = true;
    if (wake) uv_async_send(wake);
  }
};

// What the threads need, kept alive by them: they outlive the Resolver if a lookup hangs. mutex guards all
// members.
struct Resolver::Shared {
  std::mutex mutex;
  std::condition_variable more;
  std::deque<std::shared_ptr<Job>> queue;
  unsigned threads = 0, idle = 0;
  unsigned max_threads = 0;
  bool stopping = false;
  Lookup lookup;
  Duration ttl{};
  struct Known {
    Addresses addresses;
    Time since;
  };
  std::map<std::pair<std::string, std::uint16_t>, Known> known;  // names are the configuration's: few

  // REQUIRES: the lock. Null: nobody knows.
  const Addresses* find(const Job& job) const {
    const auto at = known.find({job.host, job.port});
    return at != known.end() && steady_now() - at->second.since < ttl ? &at->second.addresses : nullptr;
  }

  static void serve(const std::shared_ptr<Shared>& self) {
    std::unique_lock lock(self->mutex);
    for (;;) {
      ++self->idle;
      self->more.wait(lock, [&] { return self->stopping || !self->queue.empty(); });
      --self->idle;
      if (self->stopping) return;
      auto job = std::move(self->queue.front());
      self->queue.pop_front();
      if (const auto* again = self->find(*job)) {  // found while this job was queued
        job->answer(0, 0, *again);
        continue;
      }
      lock.unlock();
      auto found = run(*job, self->lookup);
      lock.lock();
      if (!found.empty() && self->ttl > Duration::zero()) {
        if (self->known.size() >= kMostKnown) self->known.clear();
        self->known[{job->host, job->port}] = {std::move(found), steady_now()};
      }
      job.reset();
    }
  }

  // What was found; nothing if the lookup failed or nobody wants it any more.
  static Addresses run(Job& job, const Lookup& lookup) {
    {
      std::lock_guard job_lock(job.mutex);
      if (!job.wake) return {};  // cancelled while it was queued
    }
    Addresses found;
    const int code = lookup(job.host, job.port, found);
    const int sys = errno;
    job.answer(code, sys, found);
    return code == 0 ? found : Addresses{};
  }

  static constexpr std::size_t kMostKnown = 1024;
};

namespace {

int system_lookup(const std::string& host, std::uint16_t port, Addresses& found) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (code != 0) return code;
  constexpr std::size_t kMax = 64;  // a hostile answer must not keep us dialling for ever
  for (const addrinfo* a = list; a && found.size() < kMax; a = a->ai_next) {
    sockaddr_storage s{};
    std::memcpy(&s, a->ai_addr, std::min<std::size_t>(a->ai_addrlen, sizeof s));
    if (s.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(s).sin_port = htons(port);
    if (s.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(s).sin6_port = htons(port);
    found.push_back(io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&s), a->ai_addrlen));
  }
  ::freeaddrinfo(list);
  return 0;
}

}  // namespace

Resolver::Resolver(unsigned max_threads) : Resolver(max_threads, &system_lookup) {}

Resolver::Resolver(unsigned max_threads, Lookup lookup) : shared_(std::make_shared<Shared>()) {
  shared_->max_threads = std::max(max_threads, 1u);
  shared_->lookup = std::move(lookup);
}

std::unique_ptr<Resolver> Resolver::create(unsigned max_threads, const std::vector<std::string>& servers) {
  if (servers.empty()) return std::make_unique<Resolver>(max_threads);
  auto lookup = [client = dns::Client{servers}](const std::string& host, std::uint16_t port,
                                                Addresses& found) {
    auto answer = client.addresses(host, port);
    if (!answer) return answer.error().reason == "no_record" ? EAI_NONAME : EAI_AGAIN;
    found = std::move(*answer);
    return 0;
  };
  return std::make_unique<Resolver>(max_threads, std::move(lookup));
}

Resolver::~Resolver() {
  std::lock_guard lock(shared_->mutex);
  shared_->stopping = true;
  shared_->queue.clear();
  shared_->more.notify_all();
}

void Resolver::set_ttl(Duration ttl) {
  std::lock_guard lock(shared_->mutex);
  shared_->ttl = ttl;
  if (ttl <= Duration::zero()) shared_->known.clear();
}

void Resolver::forget(const Endpoint& endpoint) {
  std::lock_guard lock(shared_->mutex);
  shared_->known.erase({endpoint.host, endpoint.port});
}

void Resolver::submit(std::shared_ptr<Job> job) {
  std::lock_guard lock(shared_->mutex);
  if (const auto* known = shared_->find(*job)) return job->answer(0, 0, *known);
  shared_->queue.push_back(std::move(job));
  if (shared_->idle < shared_->queue.size() && shared_->threads < shared_->max_threads) {
    std::thread(&Shared::serve, shared_).detach();
    ++shared_->threads;
  }
  shared_->more.notify_one();
}

std::optional<Result<Addresses>> Resolution::without_lookup(const Endpoint& endpoint) {
  if (endpoint.is_unix()) {
    auto address = io::SocketAddress::from_path(endpoint.socket_path());
    if (!address) return Result<Addresses>(tl::unexpected(address.error()));
    return Result<Addresses>(Addresses{*address});
  }
  if (auto address = io::SocketAddress::from_ip(endpoint.address.empty() ? endpoint.host : endpoint.address,
                                                endpoint.port))
    return Result<Addresses>(Addresses{*address});
  return std::nullopt;
}

Status Resolution::start(Resolver& resolver, io::Loop& loop, const Endpoint& endpoint, void* owner,
                         Found found) {
  cancel();
  owner_ = owner, found_ = found;
  if (const int rc = uv_async_init(loop.uv(), async_.open(this), &Resolution::on_wake); rc != 0) {
    async_.discard();
    return fail(Errc::Io, std::string("cannot start a lookup: ") + uv_strerror(rc), -rc, "dns");
  }
  job_ = std::make_shared<Resolver::Job>(endpoint.host, endpoint.port);
  job_->wake = async_.get();
  try {
    resolver.submit(job_);
  } catch (const std::system_error& e) {  // no thread to be had
    cancel();
    return fail(Errc::Limit, std::string("cannot start a lookup: ") + e.what(), e.code().value(), "dns");
  }
  return {};
}

void Resolution::cancel() noexcept {
  if (job_) {
    std::lock_guard lock(job_->mutex);
    job_->wake = nullptr;
  }
  job_.reset();
  async_.close();
}

void Resolution::on_wake(uv_async_t* handle) noexcept {
  auto* self = static_cast<Resolution*>(handle->data);
  if (!self || !self->job_) return;
  const auto job = self->job_;
  Addresses found;
  int code = 0, sys = 0;
  {
    std::lock_guard lock(job->mutex);
    if (!job->done) return;
    found = std::move(job->found);
    code = job->code, sys = job->sys;
  }
  self->cancel();
  if (code == 0 && !found.empty()) return self->found_(self->owner_, std::move(found));
  const char* why = code == 0 ? "no address" : code == EAI_SYSTEM ? std::strerror(sys) : ::gai_strerror(code);
  self->found_(self->owner_, fail(Errc::Io, "cannot resolve \"" + job->host + "\": " + why,
                                  code == EAI_SYSTEM ? sys : 0, "dns"));
}

}  // namespace sidepool::upstream
