// src/dns/client.cpp -- c-ares, driven until one answer is there.
#include "src/dns/client.h"

#include <ares.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

#include "src/base/clock.h"

namespace sidepool::dns {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr int kClassIn = 1, kTypeCname = 5, kTypeTxt = 16;  // RFC 1035 §3.2
constexpr std::size_t kHeader = 12, kMaxRecords = 64, kMaxAddresses = 64;
constexpr int kFirstTry = 2000, kTries = 2;  // ms to each server; the second try has twice as long
// How late `stopping` may be seen.
constexpr int kSlice = 250;

struct ChannelFree {
  void operator()(ares_channel c) const noexcept { ares_destroy(c); }
};
using Channel = std::unique_ptr<ares_channeldata, ChannelFree>;

tl::unexpected<Error> failed(int status) {
  const bool absent = status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME;
  const bool slow = status == ARES_ETIMEOUT;
  return fail(slow ? Errc::Timeout : Errc::Io, absent ? "no such record" : ares_strerror(status), 0,
              absent ? "no_record" : "dns");
}

Result<Channel> open(const std::string& servers) {
  static const int once = ares_library_init(ARES_LIB_INIT_ALL);
  if (once != ARES_SUCCESS) return failed(once);
  ares_options options{};
  options.timeout = kFirstTry;
  options.tries = kTries;
  ares_channel raw = nullptr;
  if (const int rc = ares_init_options(&raw, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
      rc != ARES_SUCCESS)
    return failed(rc);
  Channel channel{raw};
  if (!servers.empty())
    if (const int rc = ares_set_servers_ports_csv(raw, servers.c_str()); rc != ARES_SUCCESS)
      return failed(rc);
  return channel;
}

// Until `done`, the end of patience, or stopping: the library then answers what is open with ARES_ECANCELLED.
void drive(ares_channel channel, const bool& done, const std::atomic<bool>* stopping) {
  const Time until = steady_now() + kPatience;
  while (!done) {
    if (steady_now() >= until || (stopping && stopping->load(std::memory_order_relaxed)))
      return ares_cancel(channel);
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
    const int bits = ares_getsock(channel, sockets.data(), ARES_GETSOCK_MAXNUM);
    std::array<pollfd, ARES_GETSOCK_MAXNUM> wait{};
    nfds_t n = 0;
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
      short events = 0;
      if (ARES_GETSOCK_READABLE(bits, i)) events |= POLLIN;
      if (ARES_GETSOCK_WRITABLE(bits, i)) events |= POLLOUT;
      if (events != 0) wait[n++] = {sockets[i], events, 0};
    }
    timeval most{0, kSlice * 1000};
    timeval next{};
    const timeval* t = ares_timeout(channel, &most, &next);
    const int ready = ::poll(wait.data(), n, static_cast<int>(t->tv_sec * 1000 + t->tv_usec / 1000 + 1));
    if (ready <= 0) {
      ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // time-outs
      continue;
    }
    for (nfds_t i = 0; i < n; ++i) {
      const short got = wait[i].revents;
      if (got == 0) continue;
      ares_process_fd(channel, (got & ~POLLOUT) != 0 ? wait[i].fd : ARES_SOCKET_BAD,
                      (got & POLLOUT) != 0 ? wait[i].fd : ARES_SOCKET_BAD);
    }
  }
}

struct Reply {
  bool done = false;
  int status = ARES_ECANCELLED;
  Bytes message;
};

void on_reply(void* into, int status, int, unsigned char* data, int size) noexcept {
  auto& reply = *static_cast<Reply*>(into);
  reply.done = true;
  reply.status = status;
  if (status == ARES_SUCCESS && data && size > 0) reply.message.assign(data, data + size);
}

tl::unexpected<Error> given_up(const std::atomic<bool>* stopping) {
  if (stopping && stopping->load(std::memory_order_relaxed))
    return fail(Errc::Io, "sidepool is stopping", 0, "stopped");
  return failed(ARES_ETIMEOUT);
}

Result<Bytes> ask(const std::string& servers, const std::atomic<bool>* stopping, const std::string& name,
                  int type) {
  Reply reply;  // outlives the channel, which calls back when it is destroyed
  const auto channel = open(servers);
  if (!channel) return tl::unexpected(channel.error());
  ares_search(channel->get(), name.c_str(), kClassIn, type, on_reply, &reply);
  drive(channel->get(), reply.done, stopping);
  if (reply.status == ARES_ECANCELLED) return given_up(stopping);
  if (reply.status != ARES_SUCCESS) return failed(reply.status);
  return std::move(reply.message);
}

struct Record {
  int type;
  std::chrono::seconds ttl;
  std::size_t at, size;  // of its data in the message
};

std::uint32_t number(const Bytes& m, std::size_t at, int bytes) {
  std::uint32_t n = 0;
  for (int i = 0; i < bytes; ++i) n = n << 8 | m[at + static_cast<std::size_t>(i)];
  return n;
}

struct Name {
  std::string text;
  std::size_t size;  // in the message, where it may be a pointer to elsewhere
};

std::optional<Name> name_at(const Bytes& m, std::size_t at) {
  if (at >= m.size()) return std::nullopt;
  char* text = nullptr;
  long size = 0;
  if (ares_expand_name(m.data() + at, m.data(), static_cast<int>(m.size()), &text, &size) != ARES_SUCCESS)
    return std::nullopt;
  Name name{text, static_cast<std::size_t>(size)};
  ares_free_string(text);
  return name;
}

// nullopt: not a DNS message.
std::optional<std::vector<Record>> answers(const Bytes& m) {
  if (m.size() < kHeader || m.size() > 65535) return std::nullopt;
  std::size_t at = kHeader;
  for (auto questions = number(m, 4, 2); questions > 0; --questions) {
    const auto name = name_at(m, at);
    if (!name || m.size() - at < name->size + 4) return std::nullopt;
    at += name->size + 4;
  }
  std::vector<Record> out;
  for (auto left = number(m, 6, 2); left > 0 && out.size() < kMaxRecords; --left) {
    const auto name = name_at(m, at);
    if (!name || m.size() - at < name->size + 10) return std::nullopt;
    at += name->size;
    const std::size_t size = number(m, at + 8, 2);
    if (m.size() - at - 10 < size) return std::nullopt;
    // RFC 2181 §8: 31 bits, more counts as 0.
    const std::uint32_t ttl = number(m, at + 4, 4);
    if (number(m, at + 2, 2) == kClassIn)
      out.push_back({static_cast<int>(number(m, at, 2)), std::chrono::seconds{ttl > 0x7fffffff ? 0 : ttl},
                     at + 10, size});
    at += 10 + size;
  }
  return out;
}

tl::unexpected<Error> malformed() { return fail(Errc::Io, "the answer is malformed", 0, "dns"); }

}  // namespace

Result<Texts> read_txt(const Bytes& m) {
  const auto records = answers(m);
  if (!records) return malformed();
  Texts out;
  out.ttl = std::chrono::seconds::max();
  for (const Record& r : *records) {
    out.ttl = std::min(out.ttl, r.ttl);  // an alias on the way counts too
    if (r.type != kTypeTxt) continue;
    std::string value;
    for (std::size_t i = 0; i < r.size;) {  // strings with a length byte each (RFC 1035 §3.3.14)
      const std::size_t n = m[r.at + i];
      if (n > r.size - i - 1) return malformed();
      value.append(reinterpret_cast<const char*>(m.data()) + r.at + i + 1, n);
      i += 1 + n;
    }
    out.values.push_back(std::move(value));
  }
  if (out.values.empty()) return failed(ARES_ENODATA);
  return out;
}

Result<std::string> read_cname(const Bytes& m) {
  const auto records = answers(m);
  if (!records) return malformed();
  for (const Record& r : *records) {
    if (r.type != kTypeCname) continue;
    auto target = name_at(m, r.at);
    if (!target || target->size > r.size) return malformed();
    return std::move(target->text);
  }
  return failed(ARES_ENODATA);
}

Client::Client(const std::vector<std::string>& servers, const std::atomic<bool>* stopping)
    : stopping_(stopping) {
  for (const std::string& s : servers) servers_ += (servers_.empty() ? "" : ",") + s;
}

Result<Texts> Client::txt(const std::string& name) const {
  const auto message = ask(servers_, stopping_, name, kTypeTxt);
  if (!message) return tl::unexpected(message.error());
  return read_txt(*message);
}

Result<std::string> Client::cname(const std::string& name) const {
  const auto message = ask(servers_, stopping_, name, kTypeCname);
  if (!message) return tl::unexpected(message.error());
  return read_cname(*message);
}

Result<std::vector<io::SocketAddress>> Client::addresses(const std::string& name, std::uint16_t port) const {
  struct Found {
    bool done = false;
    int status = ARES_ECANCELLED;
    ares_addrinfo* list = nullptr;
    Found() = default;
    Found(const Found&) = delete;
    Found& operator=(const Found&) = delete;
    ~Found() {
      if (list) ares_freeaddrinfo(list);
    }
  } found;  // outlives the channel
  const auto channel = open(servers_);
  if (!channel) return tl::unexpected(channel.error());
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const std::string service = std::to_string(port);
  hints.ai_flags = ARES_AI_NUMERICSERV;
  ares_getaddrinfo(
      channel->get(), name.c_str(), service.c_str(), &hints,
      [](void* into, int status, int, ares_addrinfo* list) noexcept {
        auto& f = *static_cast<Found*>(into);
        f.done = true, f.status = status, f.list = list;
      },
      &found);
  drive(channel->get(), found.done, stopping_);
  if (found.status == ARES_ECANCELLED) return given_up(stopping_);
  if (found.status != ARES_SUCCESS) return failed(found.status);
  std::vector<io::SocketAddress> out;
  for (const ares_addrinfo_node* n = found.list->nodes; n && out.size() < kMaxAddresses; n = n->ai_next)
    if (n->ai_family == AF_INET || n->ai_family == AF_INET6)
      out.push_back(io::SocketAddress::from_raw(n->ai_addr, n->ai_addrlen));
  if (out.empty()) return failed(ARES_ENODATA);
  return out;
}

}  // namespace sidepool::dns
