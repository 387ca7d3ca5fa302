// tests/unit/worker/fake_database.h -- a database on loopback that lets in whoever knows "secret" and echoes
// every query with the number of the connection that answered.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "protocol/encode.h"
#include "src/io/fd.h"

namespace sidepool::test {

inline bool send_all(int fd, protocol::Bytes bytes) {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}
inline bool read_all(int fd, std::uint8_t* to, std::size_t n) {
  while (n > 0) {
    const auto got = ::recv(fd, to, n, 0);
    if (got <= 0) return false;
    to += got, n -= static_cast<std::size_t>(got);
  }
  return true;
}

// One message with its type; type 0: the connection has ended. `unframed`: the first packet.
struct Message {
  char type = 0;
  std::string body;
};
inline Message read_message(int fd, bool unframed = false) {
  Message m;
  std::array<std::uint8_t, 5> head{};
  const std::size_t skip = unframed ? 1 : 0;
  if (!read_all(fd, head.data() + skip, 5 - skip)) return m;
  m.body.resize(protocol::load_be32(head.data() + 1) - 4);
  if (!read_all(fd, reinterpret_cast<std::uint8_t*>(m.body.data()), m.body.size())) return m;
  m.type = unframed ? '?' : static_cast<char>(head[0]);
  return m;
}

// Thread-safe. A thread a connection; all of them end with the object.
class FakeDatabase {
 public:
  FakeDatabase() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    EXPECT_EQ(::listen(listener_.get(), 128), 0);
    socklen_t size = sizeof any;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &size);
    port = ntohs(any.sin_port);
    accepter_ = std::thread([this] {
      for (;;) {
        io::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        std::lock_guard lock(mutex_);
        threads_.emplace_back([this, fd = std::move(fd)] { serve(fd.get()); });
      }
    });
  }
  ~FakeDatabase() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    accepter_.join();
    kill_all();
    for (auto& t : threads_) t.join();
  }

  std::uint16_t port = 0;
  std::atomic<int> most_open{0}, cancels{0};

  // Ends every connection, as a crash of the server does.
  void kill_all() {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  int open() {
    std::lock_guard lock(mutex_);
    return static_cast<int>(open_.size());
  }
  // Waits until `n` connections are open.
  void wait_open(int n) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20),
                                  [&] { return static_cast<int>(open_.size()) == n; }))
        << open_.size() << " are open";
  }
  // Wrong passwords are answered only when this has been taken back.
  void hold_wrong(bool hold) {
    std::lock_guard lock(mutex_);
    hold_wrong_ = hold;
    changed_.notify_all();
  }
  // Those that were tried, in order.
  std::vector<std::string> passwords() {
    std::lock_guard lock(mutex_);
    return passwords_;
  }
  // Waits until a query "sleep" runs.
  void wait_sleeping() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return sleeping_ > 0; }));
  }

 private:
  void serve(int fd) {
    const auto first = read_message(fd, true);
    if (first.type == 0) return;
    if (protocol::load_be32(reinterpret_cast<const std::uint8_t*>(first.body.data())) == 80877102) {
      std::lock_guard lock(mutex_);
      ++cancels, ++cancelled_;
      changed_.notify_all();
      return;
    }
    {
      std::lock_guard lock(mutex_);
      open_.insert(fd);
      most_open = std::max<int>(most_open, static_cast<int>(open_.size()));
      changed_.notify_all();
    }
    session(fd);
    std::lock_guard lock(mutex_);
    open_.erase(fd);
    changed_.notify_all();
  }

  void session(int fd) {
    protocol::Buffer out;
    protocol::authentication_cleartext(out);
    if (!send_all(fd, out)) return;
    const auto password = read_message(fd);
    out.clear();
    const bool right = password.type == 'p' && password.body == std::string("secret") + '\0';
    if (password.type == 'p') note_password(password.body.c_str(), right);
    if (!right) {
      protocol::error_response(out, {"FATAL", "28P01", "password authentication failed", {}, {}});
      send_all(fd, out);
      return;
    }
    const int number = ++numbers_;
    const std::array<std::uint8_t, 4> key{1, 2, 3, static_cast<std::uint8_t>(number)};
    protocol::authentication_ok(out);
    protocol::parameter_status(out, "server_version", "15.0");
    protocol::parameter_status(out, "client_encoding", "UTF8");
    protocol::parameter_status(out, "standard_conforming_strings", "on");
    protocol::backend_key_data(out, static_cast<std::uint32_t>(number), key);
    protocol::ready_for_query(out, protocol::TxStatus::Idle);
    auto status = protocol::TxStatus::Idle;
    while (send_all(fd, out)) {
      const auto m = read_message(fd);
      out.clear();
      if (m.type == 0 || m.type == 'X') return;
      if (m.type != 'Q') continue;
      answer(std::string(m.body.c_str()), number, status, out);
    }
  }

  void note_password(const std::string& password, bool right) {
    std::unique_lock lock(mutex_);
    passwords_.push_back(password);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return right || !hold_wrong_; });
  }

  void answer(const std::string& text, int number, protocol::TxStatus& status, protocol::Buffer& out) {
    if (text == "sleep") {
      std::unique_lock lock(mutex_);
      ++sleeping_;
      changed_.notify_all();
      changed_.wait_for(lock, std::chrono::seconds(20), [this] { return cancelled_ > 0; });
      --sleeping_, --cancelled_;
      protocol::error_response(out, {"ERROR", "57014", "canceling statement due to user request", {}, {}});
      if (status == protocol::TxStatus::InTransaction) status = protocol::TxStatus::Failed;
    } else if (text == "begin" || text == "commit" || text == "ROLLBACK") {
      status = text == "begin" ? protocol::TxStatus::InTransaction : protocol::TxStatus::Idle;
      protocol::command_complete(out, text == "begin" ? "BEGIN" : text == "commit" ? "COMMIT" : "ROLLBACK");
    } else if (text.rfind("RESET", 0) == 0) {
      protocol::command_complete(out, "RESET");
      protocol::command_complete(out, "RESET");
    } else {
      const std::string value = text + "@" + std::to_string(number);
      out.push_back('D');
      out.resize(out.size() + 10);
      auto* p = out.data() + out.size() - 10;
      protocol::store_be32(p, static_cast<std::uint32_t>(10 + value.size()));
      p[4] = 0, p[5] = 1;
      protocol::store_be32(p + 6, static_cast<std::uint32_t>(value.size()));
      out.insert(out.end(), value.begin(), value.end());
      protocol::command_complete(out, "SELECT 1");
    }
    protocol::ready_for_query(out, status);
  }

  io::Fd listener_;
  std::thread accepter_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::thread> threads_;
  std::set<int> open_;
  int sleeping_ = 0, cancelled_ = 0;
  bool hold_wrong_ = false;
  std::vector<std::string> passwords_;
  std::atomic<int> numbers_{0};
};

}  // namespace sidepool::test
