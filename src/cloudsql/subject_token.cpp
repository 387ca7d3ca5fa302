// cloudsql/subject_token.cpp -- see the header; AWS and certificates have files of their own.
#include "src/cloudsql/subject_token.h"

#include <utility>

#include "src/cloudsql/certificate_subject.h"
#include "src/cloudsql/encode.h"
#include "src/cloudsql/exchange.h"

namespace sidepool::cloudsql {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\v\f";
  const std::size_t from = text.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlank) - from + 1);
}

// Local trouble costs no quota and passes quickly (a token file that a starting pod does not have yet).
tl::unexpected<CallFailure> local(std::string what, FailureKind kind = FailureKind::Transport) {
  return tl::unexpected(CallFailure{Error{Errc::Auth, 0, std::move(what), "credentials"}, kind, Millis{0}});
}

CallResult<SecretText> from_text(std::string_view text, const SubjectFormat& format,
                                 const std::string& where) {
  SecretText token =
      format.json_field.empty() ? SecretText{trimmed(text)} : read_subject_field(text, format.json_field);
  if (!token.empty()) return token;
  if (format.json_field.empty()) return local(where + " is empty");
  return local(where + " has no string \"" + one_line(format.json_field, 64) + "\"");
}

CallResult<SecretText> fetch(const FileSubject& source, const ExternalAccount&, const Caller&) {
  const auto file = read_secret_file(source.path, FileKind::Regular);
  if (!file) return local("cannot read the subject token: " + file.error().what);
  return from_text(file->text.view(), source.format, "the subject token file " + source.path);
}

CallResult<SecretText> fetch(const UrlSubject& source, const ExternalAccount&, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot fetch the subject token";
  HttpRequest request;
  request.url = source.url;
  for (const SecretText& line : source.headers) request.secret_headers.push_back(line.copy());
  auto response = exchange(request, kPrefix, "credential source", caller);
  if (!response) return tl::unexpected(std::move(response.error()));
  auto token = from_text(response->body, source.format, "the subject token of " + source.url);
  wipe(response->body);
  return token;
}

// Empty: the executable has to be asked. Errors as the original has them: a kept token that is over, or a
// kept failure, is no error.
CallResult<SecretText> kept_token(const ExecutableSubject& source, std::chrono::sys_seconds now) {
  using Kind = ExecutableReply::Kind;
  if (source.output_file.empty()) return SecretText{};
  const auto file = read_secret_file(source.output_file, FileKind::Regular);
  if (!file || file->text.empty()) return SecretText{};
  auto reply = read_executable_reply(file->text.view(), true, now);
  if (reply.kind == Kind::Malformed)
    return local("the executable's output file " + source.output_file + " is malformed: " + reply.why);
  return reply.kind == Kind::Token ? std::move(reply.token) : SecretText{};
}

CallResult<SecretText> fetch(const ExecutableSubject& source, const ExternalAccount&, const Caller& caller) {
  const auto now = [&caller] { return std::chrono::floor<std::chrono::seconds>(caller.now().wall); };
  auto kept = kept_token(source, now());
  if (!kept || !kept->empty()) return kept;
  const std::string& program = source.argv.front();
  if (!source.allowed)
    return local("the credential's executable " + program + " may not be run: set " +
                     "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1 to allow it",
                 FailureKind::Refused);
  auto output = caller.run(Command{source.argv, source.env, source.timeout});
  if (!output) return tl::unexpected(not_run(std::move(output.error())));
  if (output->exit_code != 0)
    return local("the credential's executable " + program + " failed with exit code " +
                     std::to_string(output->exit_code),
                 FailureKind::Server);
  auto reply = read_executable_reply(trimmed(output->out.view()), !source.output_file.empty(), now());
  if (reply.kind == ExecutableReply::Kind::Token) return std::move(reply.token);
  return local("the reply of the credential's executable " + program + " cannot be used: " + reply.why,
               FailureKind::Server);
}

CallResult<SecretText> fetch(const AwsSubject& source, const ExternalAccount& account, const Caller& caller) {
  return fetch_aws_subject_token(source, account.audience, caller);
}

CallResult<SubjectToken> fetch(const CertificateSubject& source, const ExternalAccount&, const Caller&) {
  auto proof = read_certificate_proof(source);
  if (!proof) return local(proof.error().what);
  return SubjectToken{SecretText{std::move(proof->subject_token)}, std::move(proof->identity)};
}

}  // namespace

CallResult<SubjectToken> fetch_subject_token(const ExternalAccount& account, const Caller& caller) {
  return std::visit(
      [&](const auto& source) -> CallResult<SubjectToken> { return fetch(source, account, caller); },
      account.subject);
}

}  // namespace sidepool::cloudsql
