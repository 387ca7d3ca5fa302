// tests/support/name_server.h -- a DNS server on a loopback port, UDP and TCP, that says what a test wrote
// down.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/io/fd.h"
#include "src/io/socket.h"

namespace sidepool::test {

using Wire = std::vector<std::uint8_t>;

inline void put16(Wire& w, unsigned n) {
  w.push_back(static_cast<std::uint8_t>(n >> 8));
  w.push_back(static_cast<std::uint8_t>(n));
}
inline Wire dns_name(std::string_view name) {
  Wire out;
  while (!name.empty()) {
    const auto label = name.substr(0, name.find('.'));
    if (label.empty()) break;
    out.push_back(static_cast<std::uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  out.push_back(0);
  return out;
}
// A TXT value in parts of at most 255 bytes.
inline Wire txt_data(std::string_view value) {
  Wire out;
  do {
    const auto part = value.substr(0, 255);
    out.push_back(static_cast<std::uint8_t>(part.size()));
    out.insert(out.end(), part.begin(), part.end());
    value.remove_prefix(part.size());
  } while (!value.empty());
  return out;
}

struct DnsRecord {
  int type;
  Wire data;
  unsigned ttl = 60;
  std::string name{};  // empty: the one that was asked for
};
constexpr int kA = 1, kCname = 5, kTxt = 16, kAaaa = 28;

// A whole answer to `question`, whose name may be 12 bytes in.
inline Wire dns_message(const Wire& question, const std::vector<DnsRecord>& answers, int code = 0,
                        bool truncated = false) {
  Wire out(question.begin(), question.begin() + 2);
  put16(out, 0x8180U | (truncated ? 0x0200U : 0U) | static_cast<unsigned>(code));
  put16(out, 1);
  put16(out, truncated ? 0 : static_cast<unsigned>(answers.size()));
  put16(out, 0);
  put16(out, 0);
  std::size_t end = 12;
  while (end < question.size() && question[end] != 0) end += question[end] + std::size_t{1};
  out.insert(out.end(), question.begin() + 12, question.begin() + static_cast<std::ptrdiff_t>(end + 5));
  if (truncated) return out;
  for (const DnsRecord& r : answers) {
    const Wire name = r.name.empty() ? Wire{0xc0, 12} : dns_name(r.name);
    out.insert(out.end(), name.begin(), name.end());
    put16(out, static_cast<unsigned>(r.type));
    put16(out, 1);
    put16(out, r.ttl >> 16);
    put16(out, r.ttl & 0xffff);
    put16(out, static_cast<unsigned>(r.data.size()));
    out.insert(out.end(), r.data.begin(), r.data.end());
  }
  return out;
}

class NameServer {
 public:
  enum class Mood { Normal, Silent, Broken /* SERVFAIL */ };

  NameServer() {
    for (int i = 0; i < 50; ++i) {  // one port for both
      udp_ = io::Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      tcp_ = io::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const auto any = *io::SocketAddress::from_ip("127.0.0.1", 0);
      if (::bind(tcp_.get(), any.raw(), any.size()) != 0) continue;
      sockaddr_storage bound{};
      socklen_t size = sizeof bound;
      ::getsockname(tcp_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
      if (::bind(udp_.get(), reinterpret_cast<sockaddr*>(&bound), size) != 0) continue;
      EXPECT_EQ(::listen(tcp_.get(), 16), 0);
      address_ = io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&bound), size).text();
      thread_ = std::thread([this] { serve(); });
      return;
    }
    ADD_FAILURE() << "no port for UDP and TCP";
  }
  ~NameServer() {
    stop_ = true;
    ::shutdown(tcp_.get(), SHUT_RDWR);  // wakes poll()
    if (thread_.joinable()) thread_.join();
  }

  const std::string& address() const { return address_; }
  void set(const std::string& name, int type, std::vector<DnsRecord> answers) {
    const std::lock_guard lock{mutex_};
    zone_[{name, type}] = std::move(answers);
  }
  void be(Mood mood) { mood_ = mood; }
  int over_tcp() const { return over_tcp_; }
  int questions() const { return questions_; }

 private:
  void serve() {
    while (!stop_) {
      std::array<pollfd, 2> wait{pollfd{udp_.get(), POLLIN, 0}, pollfd{tcp_.get(), POLLIN, 0}};
      if (::poll(wait.data(), wait.size(), -1) <= 0 || stop_) continue;
      if ((wait[0].revents & POLLIN) != 0) {
        Wire question(2048);
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        const auto n = ::recvfrom(udp_.get(), question.data(), question.size(), 0,
                                  reinterpret_cast<sockaddr*>(&from), &size);
        if (n < 17) continue;
        question.resize(static_cast<std::size_t>(n));
        const Wire answer = reply(question, 512);
        if (!answer.empty())
          ::sendto(udp_.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
      }
      if ((wait[1].revents & POLLIN) != 0) {
        const io::Fd fd(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        std::array<std::uint8_t, 2> head{};
        if (::recv(fd.get(), head.data(), 2, MSG_WAITALL) != 2) continue;
        Wire question(static_cast<std::size_t>(head[0]) << 8 | head[1]);
        if (::recv(fd.get(), question.data(), question.size(), MSG_WAITALL) !=
            static_cast<ssize_t>(question.size()))
          continue;
        ++over_tcp_;
        const Wire answer = reply(question, 65535);
        Wire framed;
        put16(framed, static_cast<unsigned>(answer.size()));
        framed.insert(framed.end(), answer.begin(), answer.end());
        ::send(fd.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
      }
    }
  }

  Wire reply(const Wire& question, std::size_t most) {
    ++questions_;
    if (mood_ == Mood::Silent) return {};
    if (mood_ == Mood::Broken) return dns_message(question, {}, 2);
    std::string name;
    std::size_t at = 12;
    while (at < question.size() && question[at] != 0) {
      if (!name.empty()) name += '.';
      name.append(reinterpret_cast<const char*>(&question[at + 1]), question[at]);
      at += question[at] + std::size_t{1};
    }
    const int type = question[at + 1] << 8 | question[at + 2];
    const std::lock_guard lock{mutex_};
    const auto found = zone_.find({name, type});
    const bool exists =
        std::any_of(zone_.begin(), zone_.end(), [&](const auto& z) { return z.first.first == name; });
    if (found == zone_.end()) return dns_message(question, {}, exists ? 0 : 3);
    const Wire whole = dns_message(question, found->second);
    return whole.size() <= most ? whole : dns_message(question, {}, 0, true);
  }

  io::Fd udp_, tcp_;
  std::string address_;
  std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::vector<DnsRecord>> zone_;  // guarded
  std::atomic<Mood> mood_{Mood::Normal};
  std::atomic<int> over_tcp_{0}, questions_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sidepool::test
