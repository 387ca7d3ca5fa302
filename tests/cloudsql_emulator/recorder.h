// tests/cloudsql_emulator/recorder.h -- what happened: API requests, logins and counters that a test can wait
// for.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "tests/cloudsql_emulator/http_message.h"
#include "tests/cloudsql_emulator/json.h"

namespace sidepool::emulator {

struct RequestRecord {
  double time = 0;  // seconds since 1970, when the request had been read
  std::string api;  // connectSettings, generateEphemeralCert, token, …
  std::string instance;
  std::string principal;  // of the bearer, if it is known
  Request request;        // secrets are taken out before this is kept
  int status = 0;         // 0: dropped
  Json details;           // api-specific facts without secrets
};

struct LoginRecord {
  double time = 0;
  std::string instance;
  std::string kind;  // iam, manual_iam, password, cancel, refused
  std::string user;
  std::string database;
  std::string application_name;
  std::string principal;  // in the client certificate
  std::string mdx;        // tcp, uds, tls, unspecified; empty: no frame came
  std::string client_cert_sha256;
  long ssl_requests = 0;
};

double wall_seconds();

// Thread-safe. Keeps the newest 20000 records of each kind; counters never stop.
class Recorder {
 public:
  void add(RequestRecord record);
  void add(LoginRecord record);
  void count(const std::string& name);
  Json requests(const std::string& api, std::uint64_t after) const;
  Json logins(std::uint64_t after) const;
  Json counts() const;
  // False after the time-out; returns at once with false when stop() was called.
  bool wait_for(const std::string& name, std::uint64_t count, std::chrono::milliseconds timeout);
  void reset();
  void stop();

 private:
  void count_locked(const std::string& name);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t sequence_ = 0;
  std::deque<std::pair<std::uint64_t, RequestRecord>> requests_;
  std::deque<std::pair<std::uint64_t, LoginRecord>> logins_;
  std::map<std::string, std::uint64_t> counts_;
  bool stopped_ = false;
};

}  // namespace sidepool::emulator
