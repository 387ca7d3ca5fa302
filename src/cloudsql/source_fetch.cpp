// cloudsql/source_fetch.cpp -- what one refresh fetches, on its thread: tokens, settings, certificate.
#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "src/cloudsql/client_key.h"
#include "src/cloudsql/principal.h"
#include "src/cloudsql/source.h"

namespace sidepool::cloudsql {
namespace {

// For everything that one refresh does, retries included.
constexpr Millis kRefreshBudget = std::chrono::seconds{60};
constexpr int kUnauthorized = 401;
// How long the settings of a refresh whose certificate was refused serve the next one.
constexpr Millis kSettingsServe = std::chrono::seconds{30};

}  // namespace

Caller CloudSql::caller_within(BootTime deadline) {
  Caller caller;
  caller.now = now_;
  caller.random = [this] {
    const std::lock_guard lock{mutex_};
    return random_();
  };
  caller.pause = [this, deadline](Millis time) { return pause(time, deadline); };
  caller.send = [this, deadline](const HttpRequest& request) -> Result<HttpResponse> {
    const Millis left = deadline - now_().boot;
    if (left <= Millis{0}) return fail(Errc::Timeout, "the refresh took longer than 60 s", 0, "timeout");
    return send_(request.within(left));
  };
  caller.run = [this, deadline](const Command& command) -> Result<CommandOutput> {
    const Millis left = deadline - now_().boot;
    if (left <= Millis{0}) return fail(Errc::Timeout, "the refresh took longer than 60 s", 0, "timeout");
    Command bounded = command;
    bounded.timeout = std::min(command.timeout, left);
    return run_(bounded);
  };
  return caller;
}

bool CloudSql::pause(Millis time, BootTime deadline) {
  if (now_().boot + time > deadline) return false;
  std::unique_lock lock{mutex_};
  return !stopping_changed_.wait_for(lock, time, [this] { return stopped_; });
}

CallResult<Token> CloudSql::token(Scope scope, const Caller& caller) {
  const std::lock_guard lock{means_mutex_};
  const auto got = tokens_.get(scope, caller);
  const Error* trouble = tokens_.trouble(scope);
  LogGate& gate = token_gates_[static_cast<std::size_t>(scope)];
  if (!trouble) gate.reset();
  const auto pass = got && trouble ? gate.admit(trouble->what, now_().boot) : std::nullopt;
  if (pass) {
    std::string line = trouble->what + " (the token in use is still valid)";
    if (const auto advice = remedy(*trouble); pass->first && !advice.empty())
      line += ". " + std::string{advice};
    log(LogLevel::Warning, line);
  }
  if (!got) return tl::unexpected(got.error());
  return (*got)->copy();
}

void CloudSql::distrust(Scope scope, const Token& refused) {
  const std::lock_guard lock{means_mutex_};
  tokens_.distrust(scope, refused);
}

SqlAdmin CloudSql::api() const {
  const std::lock_guard lock{means_mutex_};
  return api_;
}

// The key takes as long as a call or two: it is made while the first ones are under way.
Status CloudSql::begin_key() {
  const std::lock_guard lock{means_mutex_};
  try {
    if (!key_ && !key_making_.valid()) key_making_ = std::async(std::launch::async, make_client_key);
  } catch (const std::system_error& e) {
    return fail(Errc::Limit, "no thread for the making of the key", e.code().value(), "threads");
  }
  return {};
}

Status CloudSql::ensure_key() {
  const std::lock_guard lock{means_mutex_};
  if (!key_ && key_making_.valid()) key_ = key_making_.get();
  if (key_ && public_key_.empty()) public_key_ = public_key_pem(key_.get());
  if (key_ && !public_key_.empty()) return {};
  return fail(Errc::Tls, "no RSA key could be made: " + tls::openssl_error(), 0, "key");
}

CallResult<ConnectSettings> CloudSql::settings_of(Entry& entry, const InstanceName& instance,
                                                  const Means& means) {
  if (auto kept = std::exchange(entry.settings, std::nullopt);
      kept && entry.settings_of == instance && now_().boot - entry.settings_at < kSettingsServe)
    return std::move(*kept);
  auto settings = means.api.connect_settings(instance, means.admin, means.caller);
  if (!settings) {
    {
      const std::lock_guard lock{mutex_};
      google_names_.clear();
    }
    if (settings.error().error.sys == kUnauthorized) distrust(Scope::Admin, means.admin);
  }
  entry.settings_at = now_().boot;
  entry.settings_of = instance;
  return settings;
}

CallResult<InfoPtr> CloudSql::fetch(Entry& entry, std::optional<NameAnswer>& answer) {
  const InstanceKey& key = entry.key;
  const Caller caller = caller_within(now_().boot + kRefreshBudget);
  if (auto begun = begin_key(); !begun) return tl::unexpected(unusable(std::move(begun.error()), ""));
  look_at_credentials();
  if (!key.dns_name.empty() && !answer) {
    auto asked = ask_dns(key);
    if (!asked) return tl::unexpected(std::move(asked.error()));
    answer = std::move(*asked);
  }
  auto admin = token(Scope::Admin, caller);
  if (!admin) return tl::unexpected(std::move(admin.error()));
  const Means means{caller, api(), std::move(*admin)};
  auto reached = reach(key, answer ? &*answer : nullptr, means);
  if (!reached) {
    if (reached.error().error.sys == kUnauthorized) distrust(Scope::Admin, means.admin);
    return tl::unexpected(std::move(reached.error()));
  }
  // The settings first: a refusal of both calls costs one.
  auto settings = settings_of(entry, reached->instance, means);
  if (!settings) return tl::unexpected(std::move(settings.error()));
  std::optional<Token> login;
  if (key.iam) {
    auto got = token(Scope::Login, caller);
    if (!got) return tl::unexpected(std::move(got.error()));
    login = std::move(*got);
  }
  if (auto ok = ensure_key(); !ok) return tl::unexpected(unusable(std::move(ok.error()), ""));
  const auto pem = means.api.ephemeral_cert(reached->instance, public_key_, means.admin,
                                            login ? &*login : nullptr, caller);
  if (!pem) {
    // Which of the two tokens was refused is not said.
    if (pem.error().error.sys == kUnauthorized) {
      distrust(Scope::Admin, means.admin);
      if (login) distrust(Scope::Login, *login);
    }
    entry.settings = std::move(*settings);
    return tl::unexpected(pem.error());
  }
  const WallTime* login_end = login && login->expires ? &*login->expires : nullptr;
  auto info = make_connection_info(key, std::move(*reached), ++last_epoch_, std::move(*settings), *pem,
                                   key_.get(), login_end);
  if (!info) return tl::unexpected(unusable(std::move(info.error()), key.name()));
  return std::move(*info);
}

void CloudSql::look_at_credentials() {
  const std::lock_guard shared{means_mutex_};
  const std::string before = tokens_.credentials().principal;
  const auto reread = tokens_.reread();
  if (!reread) {
    credentials_gate_.reset();
    return;
  }
  const std::string& file = tokens_.credentials().watched;
  if (!*reread) {
    if (credentials_gate_.admit(reread->error().what, now_().boot))
      log(LogLevel::Error, "the credentials file " + file + " has changed but cannot be used, so the old " +
                               "credentials stay: " + reread->error().what);
    return;
  }
  log(LogLevel::Info, "the credentials file " + file + " has changed and was read again");
  use_quota_project();
  principal_asked_ = false;
  const std::string& now = tokens_.credentials().principal;
  if (!now.empty() && now == before) return;
  if (!now.empty()) return set_principal(now);
  const std::lock_guard lock{mutex_};
  principal_.clear();  // whoever it was
}

void CloudSql::use_quota_project() {
  if (!quota_project_given_) api_.set_quota_project(tokens_.credentials().quota_project);
}

void CloudSql::set_principal(const std::string& name) {
  {
    const std::lock_guard lock{mutex_};
    principal_ = name;
  }
  log(LogLevel::Info,
      "the principal is " + name + "; its PostgreSQL role for IAM logins is " + role_name(name));
}

// Others that want a token meanwhile wait for it: once, and 5 s at most.
void CloudSql::learn_principal() {
  const std::lock_guard lock{means_mutex_};
  if (principal_asked_ || !tokens_.credentials().principal.empty()) return;
  principal_asked_ = true;
  const Caller caller = caller_within(now_().boot + std::chrono::seconds{5});
  const auto admin = tokens_.get(Scope::Admin, caller);
  if (!admin) return;
  const std::string name = fetch_principal(tokens_.credentials(), **admin, token_info_url_, caller);
  if (!name.empty()) return set_principal(name);
  log(LogLevel::Info, "the e-mail of the principal is not known: these credentials do not tell it");
}

}  // namespace sidepool::cloudsql
