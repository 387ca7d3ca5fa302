// tests/cloudsql_emulator/control.cpp -- arranging faults and instances, observing what happened.
#include "tests/cloudsql_emulator/control.h"

#include <algorithm>
#include <cstdlib>

namespace sidepool::emulator {
namespace {

Response done() { return json_response(200, Json::Object{{"ok", true}}); }

Response refused(const std::string& why, int status = 400) {
  return json_response(status, Json::Object{{"error", why}});
}

std::uint64_t number_of(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

Json describe(const SideFault& fault) {
  return Json::Object{{"mode", fault.mode},
                      {"times", fault.times},
                      {"connect_delay_ms", fault.connect_delay_ms},
                      {"relay_delay_ms", fault.relay_delay_ms},
                      {"stall", fault.stall}};
}

}  // namespace

Response Control::handle(const Request& request) {
  std::vector<std::string> parts = path_segments(request.path);
  std::string what;
  for (std::size_t i = 1; i < parts.size(); ++i) what += (i > 1 ? "/" : "") + parts[i];
  if (request.method == "GET") return observe(what, request);
  if (request.method == "DELETE" && what == "faults") {
    faults_.clear();
    instances_.clear_faults();
    return synced(Status{});
  }
  if (request.method != "POST") return refused("the method must be GET, POST or DELETE", 405);
  Json body = Json::Object{};
  if (!request.body.empty()) {
    auto parsed = Json::parse(request.body);
    if (!parsed || parsed->object() == nullptr) return refused("the body is no JSON object");
    body = *parsed;
  }
  return arrange(what, body, request);
}

Response Control::observe(const std::string& what, const Request& request) {
  auto query = parse_form(request.query);
  if (what == "state") return state();
  if (what == "counts") return json_response(200, recorder_.counts());
  if (what == "requests")
    return json_response(200, recorder_.requests(query["api"], number_of(query["after"])));
  if (what == "logins") return json_response(200, recorder_.logins(number_of(query["after"])));
  if (what == "wait") return wait(request);
  if (what == "connections") {
    Json out = Json::Object{};
    for (const auto& [instance, count] : side_.connections().open()) out[instance] = count;
    return json_response(200, out);
  }
  return refused("there is no /_control/" + what, 404);
}

Response Control::arrange(const std::string& what, const Json& body, const Request& request) {
  std::string instance = body.text("instance");
  if (what == "instances") return synced(instances_.put(body.text("name"), body));
  if (what == "rotate")
    return synced(instances_.rotate(instance, body.text("what"), body.flag("keep_old", true)));
  if (what == "side") return synced(instances_.set_fault(instance, body));
  if (what == "faults") return set_faults(body);
  if (what == "connections/kill") return kill(body);
  if (what == "release") {
    faults_.release(body.text("method"));
    return done();
  }
  if (what == "reset") {
    recorder_.reset();
    return done();
  }
  return arrange_identity(what, body, request);
}

Response Control::arrange_identity(const std::string& what, const Json& body, const Request& request) {
  if (what == "principals") return set_rights(body);
  if (what == "service-accounts") return add_service_account(body, request);
  if (what == "users") return add_user(body);
  if (what == "tokens") return add_token(body);
  if (what == "subject-tokens") {
    principals_.add_subject_token(body.text("subject_token"), body.text("principal"));
    return done();
  }
  if (what == "token-lifetime") {
    principals_.set_token_lifetime(static_cast<std::int64_t>(body.number("seconds", 3600)));
    return done();
  }
  if (what == "revoke-tokens") {
    principals_.revoke_all();
    return done();
  }
  return refused("there is no /_control/" + what, 404);
}

Response Control::synced(const Status& status) {
  if (!status) return refused(status.error().what);
  if (Status listening = side_.sync(); !listening) return refused(listening.error().what, 409);
  return done();
}

Response Control::state() const {
  Json out;
  out["side_port"] = side_.port();
  out["counts"] = recorder_.counts();
  out["faults"] = faults_.describe();
  out["principals"] = Json::Object{};
  for (const std::string& email : principals_.emails()) out["principals"][email] = role_of(email);
  out["attached"] = principals_.attached();
  auto open = side_.connections().open();
  out["instances"] = Json::Object{};
  for (const std::string& name : instances_.names()) {
    auto settings = instances_.settings(name);
    if (!settings) continue;
    Json one = to_json(*settings);
    one["open_connections"] = open[name];
    one["fault"] = describe(instances_.fault(name));
    one["ca_bundle"] = instances_.bundle(name);
    out["instances"][name] = one;
  }
  return json_response(200, out);
}

Response Control::wait(const Request& request) {
  auto query = parse_form(request.query);
  std::uint64_t timeout = std::min<std::uint64_t>(number_of(query["timeout_ms"]), 600000);
  bool reached =
      recorder_.wait_for(query["name"], number_of(query["count"]), std::chrono::milliseconds(timeout));
  Json out = recorder_.counts();
  return json_response(reached ? 200 : 408, out);
}

Response Control::set_faults(const Json& body) {
  static constexpr std::string_view kMethods[] = {"connectSettings",
                                                  "generateEphemeralCert",
                                                  "resolveConnectSettings",
                                                  "token",
                                                  "sts",
                                                  "generateAccessToken",
                                                  "metadata.token",
                                                  "metadata",
                                                  "root"};
  std::string method = body.text("method");
  if (std::find(std::begin(kMethods), std::end(kMethods), method) == std::end(kMethods)) {
    return refused("unknown method \"" + method + "\"");
  }
  const Json* steps = body.find("steps");
  auto parsed = Faults::parse_steps(steps != nullptr ? *steps : Json());
  if (!parsed) return refused(parsed.error().what);
  faults_.set(method, body.text("instance"), *parsed);
  return done();
}

Response Control::kill(const Json& body) {
  std::string how = body.text("how", "close");
  End end = End::None;
  if (how == "close") end = End::Close;
  if (how == "close_notify") end = End::CloseNotify;
  if (how == "reset") end = End::Reset;
  if (end == End::None) return refused("how is one of close, close_notify, reset");
  return json_response(200, Json::Object{{"killed", side_.connections().kill(body.text("instance"), end)}});
}

Json credentials_file(const std::string& email, const Principals::ServiceAccountKey& key,
                      const std::string& token_uri) {
  return Json::Object{{"type", "service_account"},
                      {"project_id", "emulated-project"},
                      {"private_key_id", key.key_id},
                      {"private_key", key.private_key_pem},
                      {"client_email", email},
                      {"client_id", "100000000000000000000"},
                      {"auth_uri", "https://accounts.google.com/o/oauth2/auth"},
                      {"token_uri", token_uri},
                      {"universe_domain", "googleapis.com"}};
}

Response Control::add_service_account(const Json& body, const Request& request) {
  std::string email = body.text("email");
  if (email.empty()) return refused("email is missing");
  if (std::string pem = body.text("public_key"); !pem.empty()) {
    Status status = principals_.add_public_key(email, body.text("key_id"), pem);
    return status ? done() : refused(status.error().what);
  }
  std::string token_uri = "http://" + request.header("Host") + "/token";
  return json_response(200, credentials_file(email, principals_.add_service_account_key(email), token_uri));
}

Response Control::add_user(const Json& body) {
  std::string email = body.text("email");
  if (email.empty()) return refused("email is missing");
  auto user = principals_.add_user(email);
  return json_response(200, Json::Object{{"type", "authorized_user"},
                                         {"client_id", user.client_id},
                                         {"client_secret", user.client_secret},
                                         {"refresh_token", user.refresh_token}});
}

Response Control::add_token(const Json& body) {
  std::string principal = body.text("principal");
  if (principal.empty()) return refused("principal is missing");
  std::vector<std::string> scopes = body.strings("scopes");
  if (scopes.empty()) scopes.emplace_back(kPlatformScope);
  auto lifetime = static_cast<std::int64_t>(body.number("lifetime_s", 3600));
  std::string token = body.text("token");
  principals_.add(principal);
  if (token.empty()) {
    token = principals_.issue(principal, scopes, lifetime).token;
  } else {
    auto now = static_cast<std::int64_t>(wall_seconds());
    principals_.add_static_token(token, Token{principal, scopes, now + lifetime});
  }
  return json_response(200, Json::Object{{"token", token}});
}

Response Control::set_rights(const Json& body) {
  std::string email = body.text("email");
  if (email.empty()) return refused("email is missing");
  Principals::Rights rights = principals_.rights(email).value_or(Principals::Rights{});
  rights.connect = body.flag("connect", rights.connect);
  rights.login = body.flag("login", rights.login);
  if (body.find("impersonators") != nullptr) rights.impersonators = body.strings("impersonators");
  principals_.set_rights(email, rights);
  if (body.flag("attached", false)) principals_.set_attached(email);
  return done();
}

}  // namespace sidepool::emulator
