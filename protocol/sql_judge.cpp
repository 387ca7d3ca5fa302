// protocol/sql_judge.cpp -- statements by their words. Grammar: PostgreSQL manual, "SQL Commands".
#include "protocol/sql_judge.h"

#include <algorithm>

namespace sidepool::protocol {

void SqlJudge::word(std::string_view text, bool whole) noexcept {
  if (words_ < UINT8_MAX) ++words_;
  KnownWord known = known_word(text);
  if (known.word == Word::Other && step_ == Step::Nothing) {  // most words
    body_start_ = false;
    push(Word::Other);
    return;
  }
  note(known.effects);
  // Behind a dot every key word is an ordinary name.
  if (previous_ == Word::Dot && !is_name(known.word)) known.word = Word::Other;
  if (known.word != Word::Other) key_word(known.word);
  if (step_ != Step::Nothing) step({Kind::Word, known.word, text, whole});
  body_start_ = body_start_ && known.word == Word::Atomic;
  push(known.word);
}

void SqlJudge::note(Effects e) noexcept {
  effects_ |= e;
  unlocks_ = unlocks_ || e.has(Effect::AdvisoryUnlock);
  watch_ = watch_ || e.has(Effect::SetConfigCall);
}

void SqlJudge::quoted(std::string_view text, bool whole) noexcept {
  const KnownWord known = known_quoted(text);
  note(known.effects);
  if (known.word != Word::Other) key_word(known.word);
  if (step_ != Step::Nothing) step({Kind::Quoted, Word::Other, text, whole});
  body_start_ = false;
  push(Word::Other);
}

void SqlJudge::literal() noexcept {
  if (step_ != Step::Nothing) step({Kind::Literal});
  body_start_ = false;
  push(Word::Other);
}

void SqlJudge::symbol(char c) noexcept {
  switch (c) {
    case '(':
      ++parentheses_;
      break;
    case ')':
      if (parentheses_ == 0)
        doubt();
      else
        --parentheses_;
      break;
    case ';':
      semicolon();
      return;
    default:
      break;
  }
  // A parenthesis may open a query; what it is shows behind it.
  if (step_ != Step::Nothing && !(step_ == Step::Start && c == '(')) {
    step({Kind::Symbol, Word::Symbol, c == '.' ? std::string_view(".") : c == '=' ? "=" : "", true});
  }
  body_start_ = false;
  push(c == '.' ? Word::Dot : Word::Symbol);
}

void SqlJudge::semicolon() noexcept {
  if (body_) {
    // Inside CASE or parentheses no statement can end: one of the counted words was a label.
    if (cases_ > 0 || parentheses_ > 0) doubt();
    body_start_ = true;
    push(Word::Symbol);
  } else if (parentheses_ > 0) {
    push(Word::Symbol);  // CREATE RULE ... DO (INSERT ...; DELETE ...)
  } else {
    end_statement();
  }
}

ScanResult SqlJudge::finish() noexcept {
  if (parentheses_ > 0 || body_) doubt();
  end_statement();
  ScanResult r;
  r.effects = effects_;
  r.statements = statements_;
  r.tx = effects_.has(Effect::Unsure) ? TxVerb::Unknown : tx_;
  r.settings = settings_;
  if (statements_ == 1 && !effects_.has(Effect::Unsure)) {
    r.lone_deallocate = lone_;
    if (lone_ == LoneDeallocate::Name) r.name_size_ = name_size_;
  }
  return r;
}

void SqlJudge::end_statement() noexcept {
  if (step_ != Step::Nothing && step_ != Step::Start) step({Kind::End});
  end_transaction_verb();
  if (reset_before_ && step_ != Step::Start && minds_settings()) effects_ |= Effect::RunsBehindReset;
  reset_before_ = reset_before_ || resets_;
  if (temp_) effects_ |= on_commit_drop_ ? Effect::TempOnCommitDrop : Effect::TempObject;
  drop_name();
  step_ = Step::Start;
  verb_ = held_ = Word::Other;
  previous_ = before_previous_ = Word::Symbol;
  scope_ = Scope::Session;
  committed_ = watch_ = routine_ = routine_ddl_ = body_ = body_start_ = temp_ = on_commit_drop_ = false;
  prepared_ = to_savepoint_ = chain_ = update_ = resets_ = unlocks_ = false;
  words_ = 0;
  parentheses_ = cases_ = 0;
}

// Not the statements that drivers put beside a RESET to give a session back. Of the functions among these
// only a bare call is known to do nothing else.
bool SqlJudge::minds_settings() const noexcept {
  switch (verb_) {
    case Word::Abort:
    case Word::Begin:
    case Word::Close:
    case Word::Commit:
    case Word::Deallocate:
    case Word::Discard:
    case Word::End:
    case Word::Release:
    case Word::Reset:
    case Word::Rollback:
    case Word::Savepoint:
    case Word::Set:
    case Word::Start:
    case Word::Unlisten:
      return false;
    default:
      constexpr std::uint8_t kBareCall = 3;  // SELECT pg_catalog.f()
      return !unlocks_ || words_ > kBareCall;
  }
}

// COMMIT, ROLLBACK and their like are known by what follows them: TO, AND CHAIN, PREPARED.
void SqlJudge::end_transaction_verb() noexcept {
  const bool commit = verb_ == Word::Commit || verb_ == Word::End;
  if (!commit && verb_ != Word::Rollback && verb_ != Word::Abort) return;
  if (prepared_) {
    effects_ |= Effect::TwoPhase;
  } else if (to_savepoint_) {
    effects_ |= Effect::Savepoint;
  } else {
    effects_ |= commit ? Effect::Commit : Effect::Rollback;
    tx_ = chain_ ? TxVerb::Begins : TxVerb::Ends;
  }
}

void SqlJudge::step(const Token& t) noexcept {
  switch (step_) {
    case Step::Start:
      if (statements_ < UINT16_MAX) ++statements_;
      step_ = Step::Nothing;
      if (t.kind == Kind::Word) first_word(t.word);
      return;
    case Step::Nothing:
      return;
    case Step::SetFirst:
    case Step::SetSecond:
    case Step::SetPart:
    case Step::SetAfter:
    case Step::SetValue:
      set_step(t);
      return;
    case Step::PrepareFirst:
      held_ = t.word;
      step_ = t.is_identifier() ? Step::PrepareSecond : Step::Nothing;
      return;
    case Step::PrepareSecond:  // `transaction` is a possible name too
      step_ = Step::Nothing;
      if (held_ == Word::Transaction && t.kind == Kind::Literal) {
        effects_ |= Effect::TwoPhase;
        tx_ = TxVerb::Ends;
      } else {
        effects_ |= Effect::Prepare;
      }
      return;
    case Step::DeallocateFirst:
    case Step::DeallocateSecond:
    case Step::DeallocateEnd:
      deallocate_step(t);
      return;
    case Step::Discard:
      step_ = Step::Nothing;
      if (t.word == Word::All) effects_ |= Effect::DiscardAll;
      if (t.word == Word::Temp) effects_ |= Effect::DiscardTemp;
      if (t.word == Word::Plans) effects_ |= Effect::DiscardPlans;
      if (t.word == Word::Sequences) effects_ |= Effect::DiscardSequences;
      return;
  }
}

void SqlJudge::first_word(Word w) noexcept {
  verb_ = w;
  switch (w) {
    case Word::Set:
      step_ = Step::SetFirst;
      break;
    case Word::Reset:
      scope_ = Scope::Reset;
      step_ = Step::SetFirst;
      break;
    case Word::Begin:
    case Word::Start:
      effects_ |= Effect::Begin;
      tx_ = TxVerb::Begins;
      break;
    case Word::Savepoint:
    case Word::Release:
      effects_ |= Effect::Savepoint;
      break;
    case Word::Prepare:
      step_ = Step::PrepareFirst;
      break;
    case Word::Execute:
      effects_ |= Effect::ExecutePrepared;
      break;
    case Word::Deallocate:
      step_ = Step::DeallocateFirst;
      break;
    case Word::Discard:
      step_ = Step::Discard;
      break;
    case Word::Listen:
      effects_ |= Effect::Listen;
      break;
    case Word::Unlisten:
      effects_ |= Effect::Unlisten;
      break;
    case Word::Load:
      effects_ |= Effect::Load;
      break;
    case Word::Copy:
      effects_ |= Effect::CopyVerb;
      break;
    case Word::Do:
    case Word::Call:
      effects_ |= Effect::DoOrCall;
      break;
    case Word::Create:
    case Word::Alter:
    case Word::Drop:
      effects_ |= Effect::Ddl;
      break;
    default:  // most words begin nothing that matters
      break;
  }
}

// Words that matter behind the first one too. previous_ is still the word before this one.
void SqlJudge::key_word(Word w) noexcept {
  switch (w) {
    case Word::Temp:
      temp_word();
      break;
    case Word::PgTemp:
      pg_temp();
      break;
    case Word::PgSettings:  // the view has an update rule that calls set_config
      if (update_) effects_ |= Effect::SetConfigCall;
      break;
    case Word::Update:
      update_ = true;
      break;
    case Word::Hold:
      if (verb_ == Word::Declare && previous_ == Word::With) effects_ |= Effect::DeclareHold;
      break;
    case Word::Execute:  // not GRANT EXECUTE, not the EXECUTE FUNCTION of a trigger
      if (verb_ == Word::Explain || previous_ == Word::As) effects_ |= Effect::ExecutePrepared;
      break;
    case Word::Function:
    case Word::Procedure:
      if (verb_ == Word::Create && (previous_ == Word::Create || previous_ == Word::Replace)) routine_ = true;
      [[fallthrough]];
    case Word::RoutineKind:
      if (verb_ == Word::Create || verb_ == Word::Alter || verb_ == Word::Drop) {
        routine_ddl_ = true;
        effects_ |= Effect::RoutineDdl;
      }
      break;
    case Word::Atomic:
    case Word::Case:
    case Word::End:
      if (routine_) body_word(w);
      break;
    case Word::Drop:
      if (previous_ == Word::Commit && before_previous_ == Word::On) on_commit_drop_ = true;
      break;
    case Word::Prepared:
      if (previous_ == verb_) prepared_ = true;
      break;
    case Word::To:
      to_savepoint_ = true;
      break;
    case Word::Chain:
      chain_ = previous_ != Word::No;
      break;
    default:  // matters in its place only, see step()
      break;
  }
}

// CASE and END are reserved, so unquoted they are what they seem, or labels: behind AS, or bare behind an
// expression. A bare `end` is known by standing neither in a CASE nor at the start of a statement; a bare
// `case` is found at the next semicolon.
void SqlJudge::body_word(Word w) noexcept {
  if (!body_) {
    if (w == Word::Atomic && previous_ == Word::Begin && parentheses_ == 0) body_ = body_start_ = true;
    return;
  }
  if (w == Word::End && body_start_ && cases_ == 0) {
    body_ = false;
  } else if (previous_ != Word::As) {
    if (w == Word::Case) ++cases_;
    if (w == Word::End && cases_ > 0) --cases_;
  }
}

// CREATE [OR REPLACE] [LOCAL | GLOBAL] TEMP, or SELECT ... INTO [LOCAL | GLOBAL] TEMP, but a table of that
// name in INSERT INTO temp.
void SqlJudge::temp_word() noexcept {
  const bool modified = previous_ == Word::Local || previous_ == Word::Global;
  const Word before = modified ? before_previous_ : previous_;
  if (before == Word::Create || before == Word::Replace) {
    if (verb_ == Word::Create) {
      temp_ = true;
    } else {
      effects_ |= Effect::TempObject;  // EXPLAIN ANALYZE CREATE TEMP TABLE AS
    }
  } else if (before == Word::Into) {
    const bool table_name =
        !modified && (before_previous_ == Word::Insert || before_previous_ == Word::Merge);
    if (!table_name) effects_ |= Effect::TempObject;
  }
}

// CREATE FUNCTION ... SET search_path = x, pg_temp is good practice and leaves nothing behind.
void SqlJudge::pg_temp() noexcept {
  const bool in_list = previous_ == Word::Symbol || previous_ == Word::To;
  if (routine_ddl_ && in_list) return;
  effects_ |= Effect::TempObject;
}

void SqlJudge::deallocate_step(const Token& t) noexcept {
  if (step_ == Step::DeallocateEnd) {
    if (t.kind != Kind::End) lone_ = LoneDeallocate::No;
    step_ = Step::Nothing;
    return;
  }
  const bool behind_prepare = step_ == Step::DeallocateSecond;
  step_ = Step::DeallocateEnd;
  if (t.word == Word::All) {
    effects_ |= Effect::DeallocateAll;
    lone_ = LoneDeallocate::All;
  } else if (t.word == Word::Prepare && !behind_prepare) {
    step_ = Step::DeallocateSecond;
  } else if (t.is_identifier()) {
    deallocate_name(t);
  } else if (behind_prepare) {  // DEALLOCATE prepare: that was the name
    deallocate_name({Kind::Word, Word::Prepare, "prepare", true});
    if (t.kind != Kind::End) lone_ = LoneDeallocate::No;
  } else {
    effects_ |= Effect::Deallocate;
  }
}

// Kept if it is sure to be what PostgreSQL looks up. It folds other letters than ASCII by its own locale, and
// cuts at 63 bytes of its own encoding, which may take three for one of ours.
void SqlJudge::deallocate_name(const Token& t) noexcept {
  effects_ |= Effect::Deallocate;
  const bool ascii = std::none_of(t.text.begin(), t.text.end(), [](char c) { return (c & 0x80) != 0; });
  if (statements_ != 1 || !t.whole || t.text.empty()) return;
  if (!ascii && (t.kind == Kind::Word || t.text.size() > 21)) return;
  lone_ = LoneDeallocate::Name;
  name_size_ = static_cast<std::uint8_t>(t.text.size());
  std::transform(t.text.begin(), t.text.end(), settings_.text_.begin(), [&](char c) {
    return t.kind == Kind::Word && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
}

}  // namespace sidepool::protocol
