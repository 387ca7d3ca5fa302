// src/check/google.cpp -- see the header.
#include "src/check/google.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "src/base/random.h"
#include "src/check/advice.h"
#include "src/cloudsql/call.h"
#include "src/cloudsql/client_key.h"
#include "src/cloudsql/principal.h"

namespace sidepool::check {

using cloudsql::Millis;
using cloudsql::Scope;

namespace {

// As a refresh of the running program.
constexpr Millis kBudget = std::chrono::seconds{60};

constexpr std::array<Subject, 4> kApiOrder{Subject::Api, Subject::Scopes, Subject::Roles, Subject::Instance};

cloudsql::Now system_now() {
  timespec boot{};
  clock_gettime(CLOCK_BOOTTIME, &boot);
  return {
      std::chrono::floor<Millis>(std::chrono::system_clock::now()),
      std::chrono::floor<Millis>(std::chrono::seconds{boot.tv_sec} + std::chrono::nanoseconds{boot.tv_nsec})};
}

std::string lifetime(const cloudsql::Token& token) {
  if (!token.expires) return "its end is not known";
  const auto left = std::chrono::floor<std::chrono::seconds>(*token.expires - system_now().wall);
  return "valid for " + std::to_string(left.count()) + " s";
}

std::string scope_name(Scope scope) {
  const auto url = cloudsql::scope_url(scope);
  return std::string{url.substr(url.rfind('/') + 1)};
}

}  // namespace

Google::Google(cloudsql::SourceOptions options)
    : credentials_(std::move(options.credentials)),
      environment_(std::move(options.environment)),
      api_options_(std::move(options.api)),
      dns_servers_(std::move(options.dns_servers)),
      http_(std::make_unique<cloudsql::CurlHttp>(stopping_, cloudsql::process_http_proxies(),
                                                 cloudsql::process_ca_paths())) {
  if (api_options_.endpoint.empty())
    api_options_.endpoint = cloudsql::default_endpoint(credentials_, environment_);
}

cloudsql::Caller Google::caller() {
  const auto deadline = system_now().boot + kBudget;
  cloudsql::Caller c;
  c.now = system_now;
  c.random = random_unit;
  c.pause = [deadline](Millis time) {
    if (system_now().boot + time > deadline) return false;
    std::this_thread::sleep_for(time);
    return true;
  };
  c.send = [this, deadline](const cloudsql::HttpRequest& request) -> Result<cloudsql::HttpResponse> {
    const Millis left = deadline - system_now().boot;
    if (left <= Millis{0}) return fail(Errc::Timeout, "it took longer than 60 s", 0, "timeout");
    return http_->send(request.within(left));
  };
  c.run = [this, deadline](const cloudsql::Command& command) -> Result<cloudsql::CommandOutput> {
    cloudsql::Command bounded = command;
    bounded.timeout = std::clamp(deadline - system_now().boot, Millis{0}, command.timeout);
    return cloudsql::run_command(bounded, stopping_);
  };
  return c;
}

bool Google::open(Report& report) {
  auto loaded = cloudsql::load_credentials(credentials_, environment_);
  if (!loaded) {
    report.failed(Subject::Credentials, loaded.error().what,
                  "Correct the file or the flag, or log in with gcloud auth application-default login");
    report.skipped(Subject::Token, "there are no credentials");
    return false;
  }
  const std::string where = loaded->description;
  principal_ = loaded->principal;
  if (api_options_.quota_project.empty()) api_options_.quota_project = loaded->quota_project;
  tokens_.emplace(std::move(*loaded));
  api_.emplace(api_options_);
  const auto call = caller();
  const auto token = tokens_->get(Scope::Admin, call);
  if (token && principal_.empty()) {
    const auto url =
        cloudsql::token_info_url(api_options_.endpoint, cloudsql::universe_of(credentials_, environment_));
    principal_ = cloudsql::fetch_principal(tokens_->credentials(), **token, url, call);
  }
  report.ok(Subject::Credentials,
            where + (principal_.empty()
                         ? "; the principal's name is not known"
                         : "; the principal is " + principal_ + ", its PostgreSQL role for IAM logins \"" +
                               cloudsql::role_name(principal_) + "\""));
  if (!token) {
    const Error& error = token.error().error;
    report.failed(Subject::Token, error.what, cloudsql::remedy(error));
    return false;
  }
  report.ok(Subject::Token, "asked for scope " + scope_name(Scope::Admin) + ", " + lifetime(**token));
  ready_ = true;
  return true;
}

void Google::tell_failure(const Error& error, Report& report) {
  const Subject failed = subject_of(error);
  for (const Subject s : kApiOrder) {
    if (s == failed) return report.failed(s, error.what, remedy_of_api(error));
    report.ok(s, s == Subject::Api      ? "it answers and is enabled"
                 : s == Subject::Scopes ? "the token is accepted"
                                        : "the principal may use the instance");
  }
}

std::optional<cloudsql::ReachedInstance> Google::reach(const cloudsql::InstanceKey& key, Report& report) {
  std::optional<cloudsql::ReachedInstance> reached;
  if (key.dns_name.empty()) {
    reached = cloudsql::ReachedInstance{key.instance};
  } else {
    auto answer = cloudsql::look_up(key.dns_name, cloudsql::system_lookups(dns::Client{dns_servers_}));
    if (!answer) {
      report.failed(Subject::Name, answer.error().what, cloudsql::remedy(answer.error()));
      return std::nullopt;
    }
    if (const auto* instance = std::get_if<cloudsql::InstanceName>(&answer->target)) {
      reached = cloudsql::ReachedInstance{*instance, answer->host};
    } else if (ready_) {
      const auto call = caller();
      const auto admin = tokens_->get(Scope::Admin, call);
      auto found = admin ? api_->resolve(std::get<cloudsql::GoogleName>(answer->target), **admin, call)
                         : cloudsql::CallResult<cloudsql::InstanceName>{tl::unexpected(admin.error())};
      if (!found) {
        report.failed(Subject::Name, found.error().error.what, remedy_of_api(found.error().error));
        return std::nullopt;
      }
      reached = cloudsql::ReachedInstance{std::move(*found), answer->host};
    } else {
      report.skipped(Subject::Name, "there is no access token");
      return std::nullopt;
    }
  }
  const auto& i = reached->instance;
  report.ok(Subject::Name, (reached->dns_name.empty() ? "" : reached->dns_name + " stands for ") +
                               "project " + i.project + ", region " + i.region + ", instance " + i.instance);
  return reached;
}

cloudsql::InfoPtr Google::ask(const cloudsql::InstanceKey& key, Report& report) {
  auto reached = reach(key, report);
  if (!reached) return nullptr;
  if (!ready_) {
    report.skipped(Subject::Api, "there is no access token");
    return nullptr;
  }
  const auto call = caller();
  const auto admin = tokens_->get(Scope::Admin, call);
  if (!admin) {
    report.failed(Subject::Token, admin.error().error.what, cloudsql::remedy(admin.error().error));
    return nullptr;
  }
  auto settings = api_->connect_settings(reached->instance, **admin, call);
  if (!settings) {
    tell_failure(settings.error().error, report);
    return nullptr;
  }
  const cloudsql::Token* login = nullptr;
  if (key.iam) {
    const auto got = tokens_->get(Scope::Login, call);
    if (!got) {
      report.failed(Subject::LoginToken, got.error().error.what, cloudsql::remedy(got.error().error));
      return nullptr;
    }
    login = *got;
  }
  if (!key_) key_ = cloudsql::make_client_key();
  if (!key_) {
    report.failed(Subject::Certificate, "no RSA key could be made: " + tls::openssl_error());
    return nullptr;
  }
  const auto pem =
      api_->ephemeral_cert(reached->instance, cloudsql::public_key_pem(key_.get()), **admin, login, call);
  if (!pem) {
    tell_failure(pem.error().error, report);
    return nullptr;
  }
  const std::string version = settings->database_version;
  const auto* login_end = login && login->expires ? &*login->expires : nullptr;
  const std::string region = reached->instance.region;
  auto info = cloudsql::make_connection_info(key, std::move(*reached), 1, std::move(*settings), *pem,
                                             key_.get(), login_end);
  if (!info) {
    tell_failure(info.error(), report);
    return nullptr;
  }
  report.ok(Subject::Api, "it answers and is enabled");
  report.ok(Subject::Scopes, "the token is accepted");
  report.ok(Subject::Roles, "the principal may read the instance's settings and get certificates");
  report.ok(Subject::Instance, version + " in " + region);
  if (login)
    report.ok(Subject::LoginToken, "asked for scope " + scope_name(Scope::Login) + ", " + lifetime(*login));
  return std::move(*info);
}

}  // namespace sidepool::check
