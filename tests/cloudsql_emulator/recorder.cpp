// tests/cloudsql_emulator/recorder.cpp -- keeping records without secrets.
#include "tests/cloudsql_emulator/recorder.h"

namespace sidepool::emulator {
namespace {

constexpr std::size_t kKept = 20000;

void redact(Request& request) {
  // Bodies carry assertions, refresh tokens and login tokens: the facts a test needs are in `details`.
  request.body.clear();
  for (const char* name : {"Authorization", "Proxy-Authorization", "Cookie"}) {
    auto it = request.headers.find(name);
    if (it == request.headers.end()) continue;
    std::size_t scheme_end = it->second.find(' ');
    it->second =
        scheme_end == std::string::npos ? "<redacted>" : it->second.substr(0, scheme_end) + " <redacted>";
  }
}

Json describe(std::uint64_t sequence, const RequestRecord& record) {
  Json out;
  out["seq"] = static_cast<unsigned long>(sequence);
  out["time"] = record.time;
  out["api"] = record.api;
  out["instance"] = record.instance;
  out["principal"] = record.principal;
  out["method"] = record.request.method;
  out["path"] = record.request.path;
  out["query"] = record.request.query;
  out["status"] = record.status;
  out["details"] = record.details;
  out["headers"] = Json::Object{};
  for (const auto& [name, value] : record.request.headers) out["headers"][name] = value;
  return out;
}

Json describe(std::uint64_t sequence, const LoginRecord& record) {
  Json out;
  out["seq"] = static_cast<unsigned long>(sequence);
  out["time"] = record.time;
  out["instance"] = record.instance;
  out["kind"] = record.kind;
  out["user"] = record.user;
  out["database"] = record.database;
  out["application_name"] = record.application_name;
  out["principal"] = record.principal;
  out["mdx"] = record.mdx;
  out["client_cert_sha256"] = record.client_cert_sha256;
  out["ssl_requests"] = record.ssl_requests;
  return out;
}

template <class Record>
void keep(std::deque<std::pair<std::uint64_t, Record>>& records, std::uint64_t sequence, Record record) {
  records.emplace_back(sequence, std::move(record));
  if (records.size() > kKept) records.pop_front();
}

}  // namespace

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void Recorder::count_locked(const std::string& name) {
  ++counts_[name];
  changed_.notify_all();
}

void Recorder::add(RequestRecord record) {
  redact(record.request);
  std::lock_guard lock(mutex_);
  count_locked(record.api);
  if (record.status >= 200 && record.status < 300) count_locked(record.api + ".ok");
  keep(requests_, ++sequence_, std::move(record));
}

void Recorder::add(LoginRecord record) {
  std::lock_guard lock(mutex_);
  count_locked("login");
  count_locked("login." + record.kind);
  keep(logins_, ++sequence_, std::move(record));
}

void Recorder::count(const std::string& name) {
  std::lock_guard lock(mutex_);
  count_locked(name);
}

Json Recorder::requests(const std::string& api, std::uint64_t after) const {
  std::lock_guard lock(mutex_);
  Json out = Json::Array{};
  for (const auto& [sequence, record] : requests_) {
    if (sequence > after && (api.empty() || record.api == api)) out.push(describe(sequence, record));
  }
  return out;
}

Json Recorder::logins(std::uint64_t after) const {
  std::lock_guard lock(mutex_);
  Json out = Json::Array{};
  for (const auto& [sequence, record] : logins_) {
    if (sequence > after) out.push(describe(sequence, record));
  }
  return out;
}

Json Recorder::counts() const {
  std::lock_guard lock(mutex_);
  Json out = Json::Object{};
  for (const auto& [name, count] : counts_) out[name] = static_cast<unsigned long>(count);
  return out;
}

bool Recorder::wait_for(const std::string& name, std::uint64_t count, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return stopped_ || counts_[name] >= count; });
  return counts_[name] >= count;
}

void Recorder::reset() {
  std::lock_guard lock(mutex_);
  requests_.clear();
  logins_.clear();
  counts_.clear();
}

void Recorder::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

}  // namespace sidepool::emulator
