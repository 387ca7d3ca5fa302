// src/check/report.h -- what `sidepool check` has found: one line a check, with the remedy where it failed.
#pragma once
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace sidepool::check {

// In the order in which they are made: each needs those before it.
enum class Subject : std::uint8_t {
  Name,
  Credentials,
  Token,
  Api,
  Scopes,
  Roles,
  Instance,
  LoginToken,
  IpType,
  Route,
  Certificate,
  Login,
  Listener,
};
// "instance name", "IP type": what the line begins with.
std::string_view title(Subject subject) noexcept;

enum class Outcome : std::uint8_t { Ok, Failed, Skipped };

struct Finding {
  Subject subject;
  Outcome outcome;
  std::string text{};
  std::string remedy{};  // of a failure, a sentence; may be empty
};
// One line without its newline; control characters, which others may have sent, become spaces.
std::string line(const Finding& finding);

// One thread. `print` gets each line when it is known, because the next check may take seconds.
class Report {
 public:
  using Print = std::function<void(std::string_view line)>;
  explicit Report(Print print) : print_(std::move(print)) {}

  // What the following findings are about.
  void section(std::string_view name);
  void ok(Subject subject, std::string text);
  void failed(Subject subject, std::string text, std::string_view remedy = {});
  void skipped(Subject subject, std::string why);
  // Those of `subjects` that this section has no line about.
  void skip_rest(std::span<const Subject> subjects, const std::string& why);

  unsigned failures() const noexcept { return failures_; }

 private:
  void add(const Finding& finding);

  Print print_;
  unsigned failures_ = 0;
  std::set<Subject> seen_;  // in this section
};

}  // namespace sidepool::check
