// protocol/sql_settings.cpp -- the names that SET and RESET assign.
//
// Most key words behind SET are possible names too (`SET local.x = 1`, `SET role = r`), so each is held until
// the token behind it decides, as PostgreSQL's parser does.
#include <algorithm>

#include "protocol/sql_judge.h"

namespace sidepool::protocol {
namespace {

// Spellings of SET TRANSACTION; every transaction begins with the default_ ones.
bool is_of_transaction(std::string_view name) noexcept {
  return name == "transaction_isolation" || name == "transaction_read_only" ||
         name == "transaction_deferrable";
}

}  // namespace

void SqlJudge::set_step(const Token& t) noexcept {
  const bool assigned = (t.kind == Kind::Symbol && t.text == "=") || t.word == Word::To;
  switch (step_) {
    case Step::SetFirst:
      if (!t.is_identifier()) {
        step_ = Step::Nothing;
        return;
      }
      append_name(t);
      held_ = t.word;
      step_ = Step::SetSecond;
      return;
    case Step::SetSecond:
      if (t.text == "." && t.kind == Kind::Symbol) {
        step_ = Step::SetPart;
      } else if (assigned) {
        commit_name();
        step_ = Step::SetValue;
      } else {
        set_second(t);
      }
      return;
    case Step::SetPart:
      append_name(t);
      step_ = Step::SetAfter;
      return;
    case Step::SetAfter:
      if (t.text == "." && t.kind == Kind::Symbol) {
        step_ = Step::SetPart;
        return;
      }
      commit_name();
      step_ = assigned ? Step::SetValue : Step::Nothing;
      return;
    case Step::SetValue:
      set_value(t);
      return;
    default:
      return;
  }
}

// A key word and what follows it, or a name with neither dot nor assignment behind it.
void SqlJudge::set_second(const Token& t) noexcept {
  const bool set = scope_ != Scope::Reset;
  step_ = Step::Nothing;
  if (held_ == Word::Local && set) {
    scope_ = Scope::Local;
    effects_ |= Effect::SetLocal;
    restart_name(t);
  } else if (held_ == Word::Session && t.word == Word::Authorization) {
    replace_name("session_authorization");
    step_ = Step::SetValue;
  } else if (held_ == Word::Session && set) {
    restart_name(t);
  } else if (held_ == Word::Characteristics && t.word == Word::As) {
    if (scope_ == Scope::Session) effects_ |= Effect::SetOther;
  } else if (held_ == Word::Transaction) {
    effects_ |= Effect::SetTransaction;
  } else if (held_ == Word::Constraints && set) {
    // ends with the transaction
  } else if (held_ == Word::All && !set) {
    effects_ |= Effect::ResetAll;
    resets_ = true;
  } else if (held_ == Word::Time && t.word == Word::Zone) {
    replace_name("timezone");
    step_ = Step::SetValue;
  } else if (held_ == Word::Xml && t.word == Word::Option) {
    replace_name("xmloption");
  } else if (held_ == Word::Schema && t.kind == Kind::Literal) {
    replace_name("search_path");
  } else if (held_ == Word::Names && set) {
    replace_name("client_encoding");
    set_value(t);
  } else {
    commit_name();  // RESET name, SET ROLE r; anything else is an error
    if (t.word == Word::None && committed_)
      settings_.reset_ = static_cast<std::uint8_t>(settings_.reset_ | 1U << (settings_.count_ - 1));
  }
}

void SqlJudge::set_value(const Token& t) noexcept {
  step_ = Step::Nothing;
  const bool is_default = t.word == Word::Default || t.kind == Kind::End ||
                          (held_ == Word::Time && t.word == Word::Local);  // SET TIME ZONE LOCAL
  if (scope_ == Scope::Local && is_default) effects_ |= Effect::LocalDefault;
  if (committed_ && is_default) {
    resets_ = true;
    settings_.reset_ = static_cast<std::uint8_t>(settings_.reset_ | 1U << (settings_.count_ - 1));
  }
}

// SET LOCAL and SET SESSION are behind us: `t` is the first token of what they apply to.
void SqlJudge::restart_name(const Token& t) noexcept {
  drop_name();
  step_ = Step::SetFirst;
  set_step(t);
}

void SqlJudge::append_name(const Token& t) noexcept {
  const std::size_t from = settings_.count_ == 0 ? 0 : settings_.end_[settings_.count_ - 1U];
  const std::size_t dot = pending_size_ > 0 ? 1 : 0;
  const std::size_t free = settings_.text_.size() - from - pending_size_;
  if (!t.is_identifier() || !t.whole || t.text.size() + dot > free) {
    pending_lost_ = true;
    return;
  }
  char* out = settings_.text_.data() + from + pending_size_;
  if (dot != 0) *out++ = '.';
  std::transform(t.text.begin(), t.text.end(), out,
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  pending_size_ = static_cast<std::uint8_t>(pending_size_ + dot + t.text.size());
}

void SqlJudge::replace_name(std::string_view fixed) noexcept {
  drop_name();
  append_name({Kind::Word, Word::Other, fixed, true});
  commit_name();
}

// The pending name is assigned, in the scope of the statement.
void SqlJudge::commit_name() noexcept {
  const std::size_t from = settings_.count_ == 0 ? 0 : settings_.end_[settings_.count_ - 1U];
  const std::string_view name(settings_.text_.data() + from, pending_size_);
  const bool lost = pending_lost_ || (settings_.count_ == SettingNames::kMaxNames);
  watch_ = lost || name == "search_path";
  if (!lost && is_of_transaction(name)) {
    effects_ |= Effect::SetTransaction;
    return drop_name();
  }
  if (name == "seed") effects_ |= Effect::SetSeed;
  if (scope_ == Scope::Local) return drop_name();
  effects_ |= scope_ == Scope::Reset ? Effect::Reset : Effect::SetSession;
  if (lost) {
    settings_.overflow_ = true;
    resets_ = scope_ == Scope::Reset;
    effects_ |= Effect::SetRole | Effect::SetSessionAuthorization;
    return drop_name();
  }
  if (name == "role") effects_ |= Effect::SetRole;
  if (name == "session_authorization") effects_ |= Effect::SetSessionAuthorization;
  settings_.end_[settings_.count_] = static_cast<std::uint8_t>(from + pending_size_);
  if (scope_ == Scope::Reset) {
    resets_ = true;
    settings_.reset_ = static_cast<std::uint8_t>(settings_.reset_ | 1U << settings_.count_);
  }
  ++settings_.count_;
  committed_ = true;
  pending_size_ = 0;
}

void SqlJudge::drop_name() noexcept {
  pending_size_ = 0;
  pending_lost_ = false;
}

}  // namespace sidepool::protocol
