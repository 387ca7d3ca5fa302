// bench/load/load.h -- drives the clients through warm-up and window and counts.
//
// Closed loop: a client asks again as soon as it is answered. With a rate requests have times of their own,
// whether or not the earlier ones are answered: one that finds no free client waits for it, and its latency
// counts from its time, so a stall counts against all requests that it delays (no coordinated omission).
#pragma once
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "bench/load/client.h"
#include "bench/load/histogram.h"
#include "bench/load/options.h"

namespace sidepool::bench {

// Of the window. A request counts when it ended in it.
struct Report {
  double seconds = 0;
  Histogram latencies;        // nanoseconds
  Clock::duration longest{};  // also of requests that were still waiting at its end
  std::uint64_t bytes = 0, slow_bytes = 0;
  std::uint64_t least_served = 0, most_served = 0;  // of one client
};

class Load {
 public:
  // Connects all clients, throws Failure.
  explicit Load(const Options& options);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Calls `begin` and `end` at the ends of the window.
  template <class Begin, class End>
  Report run(Begin&& begin, End&& end) {
    const auto opens = Clock::now() + std::chrono::ceil<Clock::duration>(options_.warm_up);
    first_requests();
    until(opens);
    begin();
    open_window();
    until(opened_ + std::chrono::ceil<Clock::duration>(options_.window));
    end();
    close_window();
    drain();
    return std::move(report_);
  }

 private:
  void first_requests();
  void until(Clock::time_point end);
  void turn(Clock::time_point latest);
  void start_due(Clock::time_point now);
  void start(Client& client, Clock::time_point intended);
  void answered(Client& client, Clock::time_point now);
  void read_slowly(Clock::time_point now);
  void arm(Client& client);
  void open_window();
  void close_window();
  void drain();
  std::uint64_t bytes_of(const std::vector<std::unique_ptr<Client>>& clients) const;

  const Options& options_;
  const Options slow_options_;
  int epoll_;
  std::vector<std::unique_ptr<Client>> clients_, slow_;
  std::deque<Client*> free_;               // in the order in which they became free
  std::deque<Clock::time_point> overdue_;  // times of requests that no client has taken, with a rate
  Clock::duration interval_{};             // between requests; 0: closed loop
  Clock::time_point next_, next_slow_, opened_;
  std::mt19937_64 random_{1};
  bool counting_ = false, draining_ = false;
  Report report_;
  std::uint64_t bytes_before_ = 0, slow_bytes_before_ = 0;
};

}  // namespace sidepool::bench
