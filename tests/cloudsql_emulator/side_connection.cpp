// tests/cloudsql_emulator/side_connection.cpp -- handshake, MDX, startup, login on the emulator's own behalf,
// relay.
#include "tests/cloudsql_emulator/side_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "tests/cloudsql_emulator/relay.h"
#include "tests/cloudsql_emulator/startup.h"
#include "tests/cloudsql_emulator/tls_socket.h"

namespace sidepool::emulator {
namespace {

constexpr std::chrono::seconds kHandshakeTime{30};
constexpr std::chrono::seconds kStartupTime{120};
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::size_t kMaxPasswordMessage = 16384;  // IAM tokens reach 4 KiB
constexpr std::uint32_t kProtocol30 = 3 << 16;
constexpr std::size_t kMaxInbox = 65536;
constexpr int kMaxNegotiations = 4;

void end_with_reset(int fd) {
  linger hard{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

// Reads until the peer closes: closing with unread bytes would send RST, which may overtake the alert or the
// PostgreSQL error that was written last.
void linger_close(int fd, const Slot& slot) {
  shutdown(fd, SHUT_WR);
  Clock::time_point deadline = Clock::now() + kLingerTime;
  char sink[4096];
  while (slot.ordered == End::None && Clock::now() < deadline) {
    pollfd one{fd, POLLIN, 0};
    if (poll(&one, 1, 100) > 0 && recv(fd, sink, sizeof sink, MSG_DONTWAIT) <= 0) return;
  }
}

// Until the peer is gone or a test orders the end.
void hold(int fd, const Slot& slot) {
  char sink[4096];
  while (slot.ordered == End::None) {
    pollfd one{fd, POLLIN, 0};
    if (poll(&one, 1, 50) > 0 && recv(fd, sink, sizeof sink, MSG_DONTWAIT) == 0) return;
  }
}

void pause(int milliseconds, const Slot& slot) {
  Clock::time_point end = Clock::now() + std::chrono::milliseconds(milliseconds);
  while (slot.ordered == End::None && Clock::now() < end) poll(nullptr, 0, 10);
}

int alert_of(const std::string& mode) {
  if (mode == "alert_bad_certificate") return X509_V_ERR_CERT_REJECTED;
  if (mode == "alert_certificate_expired") return X509_V_ERR_CERT_HAS_EXPIRED;
  if (mode == "alert_certificate_revoked") return X509_V_ERR_CERT_REVOKED;
  if (mode == "alert_unknown_ca") return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
  return X509_V_OK;
}

class Connection {
 public:
  Connection(const Slot& slot, const Endpoint& endpoint, const SideServices& services)
      : slot_(slot), endpoint_(endpoint), services_(services), tls_(slot.fd, endpoint.tls.get()) {}

  void run() {
    if (!before_handshake()) return;
    if (int error = alert_of(endpoint_.fault.mode); error != X509_V_OK) tls_.reject_with(error);
    if (!tls_.handshake(Clock::now() + kHandshakeTime)) {
      services_.recorder.count("handshake.failed");
      linger_close(slot_.fd, slot_);
      return;
    }
    services_.recorder.count("handshake");
    if (!after_handshake()) return;
    deadline_ = Clock::now() + kStartupTime;
    read_client_certificate();
    if (read_mdx() && read_startup()) log_in();
    finish();
  }

 private:
  bool before_handshake() {
    if (endpoint_.fault.connect_delay_ms > 0) pause(endpoint_.fault.connect_delay_ms, slot_);
    const std::string& mode = endpoint_.fault.mode;
    if (mode == "hang") hold(slot_.fd, slot_);
    if (mode == "reset_before_handshake") end_with_reset(slot_.fd);
    return mode != "hang" && mode != "reset_before_handshake";
  }

  bool after_handshake() {
    const std::string& mode = endpoint_.fault.mode;
    if (mode == "hang_after_handshake") hold(slot_.fd, slot_);
    if (mode == "reset_after_handshake") end_with_reset(slot_.fd);
    if (mode == "close_after_handshake") linger_close(slot_.fd, slot_);
    return !mode.ends_with("_after_handshake");
  }

  void read_client_certificate() {
    X509* cert = SSL_get0_peer_certificate(tls_.ssl());
    if (cert == nullptr) return;
    login_.principal = principal_of(cert);
    unsigned char* der = nullptr;
    int length = i2d_X509(cert, &der);
    if (length > 0) {
      login_.client_cert_sha256 =
          sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(length)});
    }
    OPENSSL_free(der);
  }

  bool more() { return inbox_.size() < kMaxInbox && tls_.read_more(inbox_, deadline_); }

  bool read_mdx() {
    if (inbox_.empty() && !more()) return false;
    if (inbox_[0] != kMdxSignature[0]) return true;
    MdxRequest request;
    Parse state = parse_mdx(inbox_, request);
    while (state == Parse::NeedMore && more()) state = parse_mdx(inbox_, request);
    if (state != Parse::Complete) return false;
    inbox_.erase(0, request.frame_size);
    login_.mdx = request.client_protocol;
    services_.recorder.count("mdx");
    if (endpoint_.mdx_reply == "ok") return tls_.write_all(mdx_response(1, ""), deadline_);
    if (endpoint_.mdx_reply == "error")
      return tls_.write_all(mdx_response(2, "ordered by the test"), deadline_);
    return true;
  }

  // True: inbox_ begins with a StartupMessage or CancelRequest, or with bytes PostgreSQL shall judge.
  bool read_startup() {
    while (true) {
      packet_ = {};
      Parse state = parse_startup(inbox_, packet_);
      if (state == Parse::NeedMore) {
        if (!more()) return false;
        continue;
      }
      bool negotiation = packet_.kind == StartupPacket::Kind::SslRequest ||
                         packet_.kind == StartupPacket::Kind::GssEncRequest;
      if (state == Parse::Invalid || !negotiation) return true;
      if (++login_.ssl_requests > kMaxNegotiations) return false;
      inbox_.erase(0, packet_.size);
      if (!tls_.write_all("N", deadline_)) return false;
    }
  }

  void log_in() {
    login_.user = packet_.parameters["user"];
    login_.database = packet_.parameters["database"];
    login_.application_name = packet_.parameters["application_name"];
    if (packet_.kind == StartupPacket::Kind::Cancel) {
      login_.kind = "cancel";
      return connect_and_relay(services_.trust);
    }
    auto owner = services_.principals.principal_of_role(login_.user);
    bool iam_role = endpoint_.iam && owner && packet_.size != 0;
    if (iam_role && login_.principal == *owner && may_log_in(*owner)) {
      login_.kind = "iam";
      return connect_and_relay(services_.trust);
    }
    if (iam_role) return log_in_by_token(*owner);
    login_.kind = "password";
    connect_and_relay(services_.password);
  }

  bool may_log_in(const std::string& principal) const {
    auto rights = services_.principals.rights(principal);
    return rights && rights->login;
  }

  // Manual IAM (cloudsql.md §4.3): the role is an IAM role and the certificate does not speak for it, so a
  // token with the login scope is asked for as a cleartext password.
  void log_in_by_token(const std::string& owner) {
    std::string startup = inbox_.substr(0, packet_.size);
    inbox_.erase(0, packet_.size);
    std::string question;
    // PostgreSQL offers an older protocol before it asks, and will see this packet only afterwards.
    if ((read_u32(std::string_view(startup).substr(4)) & 0xffff) != 0) {
      startup.replace(4, 4, write_u32(kProtocol30));
      question = "v" + write_u32(12) + write_u32(kProtocol30) + write_u32(0);
    }
    question += "R" + write_u32(8) + write_u32(3);
    if (!tls_.write_all(question, deadline_)) return;
    while (inbox_.size() < 5) {
      if (!more()) return;
    }
    std::size_t size = read_u32(std::string_view(inbox_).substr(1)) + std::size_t{1};
    if (inbox_[0] != 'p' || size < 6 || size > kMaxPasswordMessage) return;
    while (inbox_.size() < size) {
      if (!more()) return;
    }
    std::string password = inbox_.substr(5, size - 6);
    inbox_.replace(0, size, startup);
    auto token = services_.principals.lookup(password);
    if (token && token->principal == owner && token->has(kLoginScope) && may_log_in(owner)) {
      login_.kind = "manual_iam";
      return connect_and_relay(services_.trust);
    }
    login_.kind = "refused";
    record();
    tls_.write_all(fatal("28P01", "password authentication failed for user \"" + login_.user + "\""),
                   deadline_);
  }

  void record() {
    login_.time = wall_seconds();
    login_.instance = slot_.instance;
    services_.recorder.add(login_);
  }

  void connect_and_relay(const Upstream& upstream) {
    record();
    int server = upstream.connect();
    if (server < 0) {
      services_.recorder.count("postgres.unreachable");
      return;
    }
    std::function<SideFault()> fault = [this] { return services_.instances.fault(slot_.instance); };
    relay(tls_, server, std::move(inbox_), slot_, fault);
    close(server);
  }

  void finish() {
    switch (slot_.ordered) {
      case End::Reset:
        end_with_reset(slot_.fd);
        return;
      case End::Close:
        return;
      case End::None:
      case End::CloseNotify:
        tls_.close_notify();
        linger_close(slot_.fd, slot_);
        return;
    }
  }

  const Slot& slot_;
  const Endpoint& endpoint_;
  const SideServices& services_;
  TlsSocket tls_;
  Clock::time_point deadline_;
  std::string inbox_;
  StartupPacket packet_;
  LoginRecord login_;
};

}  // namespace

void serve_connection(const Slot& slot, const Endpoint& endpoint, const SideServices& services) {
  Connection(slot, endpoint, services).run();
}

}  // namespace sidepool::emulator
