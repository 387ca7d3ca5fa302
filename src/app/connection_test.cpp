// src/app/connection_test.cpp -- see connection_test.h.
#include "src/app/connection_test.h"

#include <mutex>
#include <utility>

#include "protocol/encode.h"
#include "src/io/watch.h"
#include "src/upstream/dialer.h"

namespace sidepool::app {

// What the api thread has answered, by the number of the attempt.
struct ConnectionTest::Answers {
  std::mutex mutex;
  std::vector<std::pair<std::size_t, cloudsql::CloudSql::Answer>> list;  // guarded by mutex
};

class ConnectionTest::Attempt final : private upstream::Dialer::Owner {
 public:
  Attempt(ConnectionTest& test, const worker::Upstream& upstream)
      : test_(test),
        upstream_(upstream),
        dialer_(test.loop_, test.resolver_, *this),
        timer_([](TimerNode& n) noexcept { owner_of<&Attempt::timer_>(n).end({}); }) {}

  // A host list needs no more than its configuration.
  void dial_hosts() { dialer_.start(upstream_.host_route(), test_.loop_.now() + test_.most_); }

  void on_info(const cloudsql::CloudSql::Answer& info) {
    if (!info) return end(info.error().what);
    auto route = upstream_.instance_route(**info, false);
    if (!route) return end(route.error().what);
    rest_ = route->prologue;
    protocol::ssl_request(rest_);
    dialer_.start(*std::move(route), test_.loop_.now() + test_.most_);
  }

 private:
  void on_connected(upstream::Dialer&, upstream::Connected connected) noexcept override {
    stream_ = std::move(connected.stream);
    if (!upstream_.is_cloudsql()) return end({});
    const auto ready = [](void* self, int) noexcept { static_cast<Attempt*>(self)->ask(); };
    if (watch_.start(test_.loop_.uv(), stream_.fd(), this, ready) != 0)
      return end("the connection cannot be watched");
    // An instance that does not answer has not refused either.
    constexpr auto kAnswer = std::chrono::seconds(5);
    test_.loop_.arm_after(timer_, kAnswer);
    ask();
  }

  void on_dial_failed(upstream::Dialer&, upstream::Failure failure) noexcept override {
    end(failure.error.what);
  }

  // Sends the question and waits for the first byte of whatever is said to it.
  void ask() noexcept {
    std::uint8_t answer = 0;
    for (;;) {
      const protocol::Bytes left = protocol::Bytes(rest_).subspan(sent_);
      const auto r = left.empty() ? stream_.read({&answer, 1}) : stream_.write(left);
      if (!left.empty()) sent_ += r.n;
      switch (r.status) {
        case io::Io::Done:
          if (left.empty()) return end({});
          continue;
        case io::Io::WantRead:
          return (void)watch_.arm(UV_READABLE);
        case io::Io::WantWrite:
          return (void)watch_.arm(UV_WRITABLE | UV_READABLE);
        case io::Io::Closed:
          return end("the instance closed the connection after the handshake");
        case io::Io::Failed:
          return end("the instance ended the connection after the handshake: " + stream_.error_text());
      }
    }
  }

  void end(const std::string& failure) {
    timer_.disarm();
    watch_.stop();
    stream_.close();
    test_.finished(failure.empty() ? failure : "[" + upstream_.name + "] " + failure);
  }

  ConnectionTest& test_;
  const worker::Upstream& upstream_;
  upstream::Dialer dialer_;
  io::Stream stream_;
  io::FdWatch watch_;
  TimerNode timer_;
  protocol::Buffer rest_;
  std::size_t sent_ = 0;
};

ConnectionTest::ConnectionTest(io::Loop& loop, upstream::Resolver& resolver, Duration most, Done done)
    : loop_(loop),
      resolver_(resolver),
      most_(most),
      done_(std::move(done)),
      answers_(std::make_shared<Answers>()) {}

ConnectionTest::~ConnectionTest() = default;

void ConnectionTest::start(const std::vector<const worker::Upstream*>& upstreams) {
  for (const auto* upstream : upstreams) attempts_.push_back(std::make_unique<Attempt>(*this, *upstream));
  running_ = attempts_.size();
  for (std::size_t number = 0; number < upstreams.size(); ++number) {
    const auto& upstream = *upstreams[number];
    if (!upstream.is_cloudsql()) {
      attempts_[number]->dial_hosts();
      continue;
    }
    upstream.cloudsql()->request(upstream.instance_key(), [answers = answers_, loop = &loop_,
                                                           number](cloudsql::CloudSql::Answer answer) {
      {
        const std::lock_guard lock(answers->mutex);
        answers->list.emplace_back(number, std::move(answer));
      }
      loop->wake();
    });
  }
}

void ConnectionTest::on_wake() {
  std::vector<std::pair<std::size_t, cloudsql::CloudSql::Answer>> list;
  {
    const std::lock_guard lock(answers_->mutex);
    list.swap(answers_->list);
  }
  for (const auto& [number, answer] : list) attempts_[number]->on_info(answer);
}

// The owner may not destroy the test from inside done_: an attempt is at work further up.
void ConnectionTest::finished(const std::string& failure) {
  if (!failure.empty()) failures_.push_back(failure);
  if (--running_ == 0) done_(failures_);
}

}  // namespace sidepool::app
