// conf/address.h -- addresses as text: listeners, hosts, unix sockets, instance connection names.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "conf/config.h"

namespace sidepool::conf {

// Why a text was refused, in words that follow "is not accepted: ".
struct Refusal {
  std::string why;
};
template <class T>
using Read = std::variant<T, Refusal>;

// sizeof(sockaddr_un::sun_path) less the terminating zero, unix(7).
inline constexpr std::size_t kLongestSocketPath = 107;

bool is_ipv4(std::string_view text);  // four decimal numbers, no leading zeros
bool is_ipv6(std::string_view text);  // RFC 4291 section 2.2, no zone
inline bool is_ip(std::string_view text) { return is_ipv4(text) || is_ipv6(text); }
// 127.0.0.0/8, ::1 and unix sockets: only this machine reaches it.
bool is_loopback(const Address& address);
// True if both cannot be bound at once: the same socket, or a wildcard of the same family with the same port.
bool overlap(const Address& a, const Address& b);

// 1 to 65535, with `zero` also 0; decimal digits only.
std::optional<std::uint16_t> parse_port(std::string_view text, bool zero = false);

// "IP:PORT", "[IPv6]:PORT", "localhost:PORT" (127.0.0.1), or "unix:PATH" if `unix`: PATH is kept as it is,
// see socket_file().
Read<Address> parse_address(std::string_view text, bool unix);

// "HOST", "HOST:PORT", "[IPv6]:PORT", "unix:DIRECTORY" or "unix:DIRECTORY/.s.PGSQL.PORT".
Read<Host> parse_host(std::string_view text);

// The socket file for a directory: as it is if it names one (".s.PGSQL.<port>"), else
// "<path>[/<instance>]/.s.PGSQL.5432". libpq's rule for the file, the Auth Proxy's for the instance.
std::string socket_file(std::string_view path, std::string_view instance);
bool names_socket_file(std::string_view path);

// "IP", "IP:PORT", "IPv6" or "[IPv6]:PORT": a name server.
bool is_name_server(std::string_view text);

// "127.0.0.1:5432", "[::1]:5432", "unix:/tmp/.s.PGSQL.5432": what the parsers above read back.
std::string to_string(const Address& address);
std::string to_string(const Host& host);

// A DNS name as Google's connector takes it: lower case, at least one dot, underscores in all labels but the
// last, which begins with a letter; a dot may follow. At most 253 bytes without it.
bool is_domain_name(std::string_view text);
// INSTANCE.PROJECT.REGION under sql.goog, sql-psa.goog or sql-psc.goog, in any case: the names that the SQL
// Admin API resolves. REGION is not "global".
bool is_google_instance_name(std::string_view text);

// Nothing if `text` is PROJECT:REGION:INSTANCE, DOMAIN:PROJECT:REGION:INSTANCE or one of the names above;
// else why not, with an example.
std::optional<std::string> refuse_instance(std::string_view text);

// A URL, or what was meant to be one, for a message: without the user and password in front of its host.
std::string without_userinfo(std::string_view url);

}  // namespace sidepool::conf
