// src/check/report.cpp -- see the header.
#include "src/check/report.h"

#include "src/cloudsql/encode.h"

namespace sidepool::check {
namespace {

// Google's messages and certificates' names are short; more than this helps nobody.
constexpr std::size_t kMaxText = 1000;
constexpr std::size_t kTitleWidth = 14;

std::string_view word(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::Ok:
      return "ok  ";
    case Outcome::Failed:
      return "FAIL";
    case Outcome::Skipped:
      break;
  }
  return "skip";
}

}  // namespace

std::string_view title(Subject subject) noexcept {
  switch (subject) {
    case Subject::Name:
      return "instance name";
    case Subject::Credentials:
      return "credentials";
    case Subject::Token:
      return "access token";
    case Subject::Api:
      return "Admin API";
    case Subject::Scopes:
      return "scopes";
    case Subject::Roles:
      return "roles";
    case Subject::Instance:
      return "instance";
    case Subject::LoginToken:
      return "login token";
    case Subject::IpType:
      return "IP type";
    case Subject::Route:
      return "route";
    case Subject::Certificate:
      return "certificate";
    case Subject::Login:
      return "database login";
    case Subject::Listener:
      break;
  }
  return "listener";
}

std::string line(const Finding& finding) {
  std::string out = "  ";
  out += word(finding.outcome);
  out += "  ";
  out += title(finding.subject);
  out.append(kTitleWidth - title(finding.subject).size(), ' ');
  out += "  ";
  out += cloudsql::one_line(finding.text, kMaxText);
  if (!finding.remedy.empty()) out += ". Remedy: " + cloudsql::one_line(finding.remedy, kMaxText);
  return out;
}

void Report::section(std::string_view name) {
  seen_.clear();
  print_(cloudsql::one_line(name, kMaxText));
}

void Report::ok(Subject subject, std::string text) { add({subject, Outcome::Ok, std::move(text)}); }

void Report::failed(Subject subject, std::string text, std::string_view remedy) {
  ++failures_;
  add({subject, Outcome::Failed, std::move(text), std::string{remedy}});
}

void Report::skipped(Subject subject, std::string why) { add({subject, Outcome::Skipped, std::move(why)}); }

void Report::skip_rest(std::span<const Subject> subjects, const std::string& why) {
  for (const Subject s : subjects)
    if (!seen_.contains(s)) skipped(s, why);
}

void Report::add(const Finding& finding) {
  seen_.insert(finding.subject);
  print_(line(finding));
}

}  // namespace sidepool::check
