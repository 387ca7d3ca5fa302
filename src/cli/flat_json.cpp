// src/cli/flat_json.cpp -- the flat file in JSON; the only file of cli that includes nlohmann's library.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "conf/diagnostic.h"
#include "src/cli/flat_file.h"

namespace sidepool::cli {
namespace {

// Takes the members of one object and stops at anything deeper, so that nothing is built whose depth or size
// a stranger chooses. Returning false ends the parse.
class Members final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Members(std::string_view text) : text_(text) {}

  FlatText take() { return std::move(out_); }

  bool null() override { return value(""); }
  bool boolean(bool value_read) override { return value(value_read ? "true" : "false"); }
  bool number_integer(number_integer_t number) override { return value(std::to_string(number)); }
  bool number_unsigned(number_unsigned_t number) override { return value(std::to_string(number)); }
  bool number_float(number_float_t, const string_t& spelling) override { return value(spelling); }
  bool string(string_t& text) override { return value(std::move(text)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    if (inside_) return nested("an object");
    return inside_ = true;
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return nested("an array"); }
  bool end_array() override { return true; }
  // The library's text quotes the file, which may hold a secret.
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    const auto end = text_.begin() + static_cast<std::ptrdiff_t>(std::min(position, text_.size()));
    const auto line = 1 + std::count(text_.begin(), end, '\n');
    out_.problems.push_back({"not valid JSON", static_cast<std::uint32_t>(line)});
    return false;
  }

 private:
  bool value(std::string text) {
    if (!inside_) return nested("a single value");
    out_.entries.push_back({key_, std::move(text), 0});
    return true;
  }
  bool nested(const std::string& what) {
    out_.problems.push_back({inside_ ? conf::in_quotes(key_) + " must be a single value, not " + what
                                     : "the file must be an object of flags, not " + what,
                             0});
    return false;
  }

  std::string_view text_;
  FlatText out_;
  std::string key_;
  bool inside_ = false;
};

}  // namespace

FlatText read_flat_json(std::string_view text) {
  Members members(text);
  nlohmann::json::sax_parse(text.begin(), text.end(), &members);
  return members.take();
}

}  // namespace sidepool::cli
