// bench/load/load.cpp -- see load.h
#include "bench/load/load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <numeric>
#include <system_error>
#include <utility>

namespace sidepool::bench {

namespace {

// A slow reader takes what one read gives (16 KiB at least, libpq's buffer) this often: about 1 MB a second.
constexpr auto kSlowPause = std::chrono::milliseconds(20);

constexpr auto kDrain = std::chrono::seconds(1);

Options for_slow_readers(Options options) {
  options.workload = Workload::Result;
  return options;
}

timespec wait_of(Clock::duration left) {
  const auto ns = std::max<std::int64_t>(0, std::chrono::nanoseconds(left).count());
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

}  // namespace

Load::Load(const Options& options)
    : options_(options), slow_options_(for_slow_readers(options)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  if (options.rate > 0)
    interval_ = std::chrono::ceil<Clock::duration>(std::chrono::duration<double>(1 / options.rate));
  for (std::size_t i = 0; i < options.clients; ++i) {
    clients_.push_back(std::make_unique<Client>(options_, options_.databases[i % options_.databases.size()]));
    arm(*clients_.back());
    free_.push_back(clients_.back().get());
  }
  for (std::size_t i = 0; i < options.slow_readers; ++i)
    slow_.push_back(
        std::make_unique<Client>(slow_options_, options_.databases[i % options_.databases.size()]));
}

Load::~Load() { ::close(epoll_); }

void Load::first_requests() {
  next_ = next_slow_ = Clock::now();
  for (auto& client : slow_) client->start(0);
  if (interval_.count() > 0) return;
  for (Client* client : std::exchange(free_, {})) start(*client, Clock::now());
}

void Load::until(Clock::time_point end) {
  while (Clock::now() < end) turn(end);
}

void Load::turn(Clock::time_point latest) {
  std::array<epoll_event, 256> events;
  auto now = Clock::now();
  if (interval_.count() > 0 && !draining_) latest = std::min(latest, next_);
  if (!slow_.empty()) latest = std::min(latest, next_slow_);
  const timespec wait = wait_of(latest - now);
  const int n = ::epoll_pwait2(epoll_, events.data(), events.size(), &wait, nullptr);
  if (n < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "epoll_pwait2");
  for (int i = 0; i < n; ++i) {
    Client& client = *static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
    const bool done = client.advance();
    if (done && !client.busy) throw Failure("an answer without a request");
    if (done) answered(client, Clock::now());
    arm(client);
  }
  now = Clock::now();
  if (interval_.count() > 0 && !draining_) start_due(now);
  if (!slow_.empty() && now >= next_slow_) read_slowly(now);
}

void Load::start_due(Clock::time_point now) {
  for (; next_ <= now; next_ += interval_) overdue_.push_back(next_);
  while (!overdue_.empty() && !free_.empty()) {
    Client& client = *free_.front();
    free_.pop_front();
    start(client, overdue_.front());
    overdue_.pop_front();
  }
}

void Load::start(Client& client, Clock::time_point intended) {
  client.busy = true;
  client.intended = intended;
  client.start(std::uniform_int_distribution<std::int64_t>(1, options_.rows)(random_));
  arm(client);
}

void Load::answered(Client& client, Clock::time_point now) {
  client.busy = false;
  if (counting_) {
    ++client.served;
    report_.latencies.record(
        static_cast<std::uint64_t>(std::chrono::nanoseconds(now - client.intended).count()));
  }
  if (draining_) return;
  if (interval_.count() == 0) {
    start(client, now);
  } else {
    free_.push_back(&client);
  }
}

void Load::read_slowly(Clock::time_point now) {
  for (auto& client : slow_)
    if (client->advance_slowly()) client->start(0);
  next_slow_ = now + kSlowPause;
}

void Load::arm(Client& client) {
  std::uint32_t events = EPOLLIN;
  if (client.wants_write()) events |= EPOLLOUT;
  if (events == client.armed) return;
  epoll_event event{events, {.ptr = &client}};
  if (::epoll_ctl(epoll_, client.armed == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, client.fd(), &event) != 0)
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  client.armed = events;
}

std::uint64_t Load::bytes_of(const std::vector<std::unique_ptr<Client>>& clients) const {
  return std::accumulate(clients.begin(), clients.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& client) { return sum + client->bytes(); });
}

void Load::open_window() {
  opened_ = Clock::now();
  counting_ = true;
  bytes_before_ = bytes_of(clients_);
  slow_bytes_before_ = bytes_of(slow_);
}

void Load::close_window() {
  const auto now = Clock::now();
  counting_ = false;
  report_.seconds = std::chrono::duration<double>(now - opened_).count();
  report_.bytes = bytes_of(clients_) - bytes_before_;
  report_.slow_bytes = bytes_of(slow_) - slow_bytes_before_;
  const auto [least, most] = std::minmax_element(
      clients_.begin(), clients_.end(), [](const auto& a, const auto& b) { return a->served < b->served; });
  report_.least_served = (*least)->served;
  report_.most_served = (*most)->served;
  report_.longest = std::chrono::nanoseconds(report_.latencies.max());
  for (const auto& client : clients_)
    if (client->busy) report_.longest = std::max(report_.longest, now - client->intended);
  if (!overdue_.empty()) report_.longest = std::max(report_.longest, now - overdue_.front());
}

// Waits for the answers that are on their way, so that the next run meets servers at rest; not for large
// ones.
void Load::drain() {
  draining_ = true;
  const auto latest = Clock::now() + kDrain;
  const auto busy = [](const auto& client) { return client->busy; };
  while (Clock::now() < latest && std::any_of(clients_.begin(), clients_.end(), busy)) turn(latest);
}

}  // namespace sidepool::bench
