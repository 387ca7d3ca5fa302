// src/check/listeners.cpp -- see the header.
#include "src/check/listeners.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "conf/address.h"
#include "src/check/advice.h"
#include "src/io/fd.h"
#include "src/io/listener.h"
#include "src/io/socket.h"

namespace sidepool::check {
namespace {

namespace fs = std::filesystem;

struct Holder {
  pid_t pid;
  std::string name;
  bool ours;
};

std::string read_proc(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

Holder holder_of(pid_t pid) {
  const fs::path proc = "/proc/" + std::to_string(pid);
  std::string name = read_proc(proc / "comm");
  while (name.ends_with('\n')) name.pop_back();
  struct stat theirs {
  }, own{};
  const bool same = ::stat((proc / "exe").c_str(), &theirs) == 0 && ::stat("/proc/self/exe", &own) == 0 &&
                    theirs.st_dev == own.st_dev && theirs.st_ino == own.st_ino;
  return {pid, std::move(name), same};
}

// Only the processes whose descriptors this user may see.
std::optional<Holder> holder_of_socket(std::uint64_t inode) {
  const std::string wanted = "socket:[" + std::to_string(inode) + "]";
  std::error_code ignored;
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    const std::string name = process.path().filename();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", ignored)) {
      if (fs::read_symlink(fd.path(), ignored) == wanted) return holder_of(pid);
    }
  }
  return std::nullopt;
}

// The kernel writes each 32-bit word of an address in the machine's order, the port in reading order.
std::string table_form(const io::SocketAddress& address) {
  std::array<char, 9> part{};
  std::string out;
  const auto word = [&](std::uint32_t w) {
    std::snprintf(part.data(), part.size(), "%08X", w);
    out += part.data();
  };
  if (address.family() == AF_INET) {
    word(reinterpret_cast<const sockaddr_in*>(address.raw())->sin_addr.s_addr);
  } else {
    std::array<std::uint32_t, 4> words{};
    std::memcpy(words.data(), &reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_addr, sizeof words);
    for (const auto w : words) word(w);
  }
  std::snprintf(part.data(), part.size(), ":%04X", address.port());
  return out + part.data();
}

std::optional<Holder> holder_of_address(const io::SocketAddress& address) {
  const std::string local = table_form(address);
  const char* table = address.family() == AF_INET ? "/proc/net/tcp" : "/proc/net/tcp6";
  const auto inode = listening_inode(read_proc(table), local);
  return inode ? holder_of_socket(*inode) : std::nullopt;
}

void taken(const std::string& shown, const std::optional<Holder>& holder, Report& report) {
  if (!holder) return report.failed(Subject::Listener, shown + " is taken", io::listen_remedy(EADDRINUSE));
  const std::string who = holder->name + " (process " + std::to_string(holder->pid) + ")";
  if (holder->ours)
    return report.ok(Subject::Listener, shown + " is in use by " + who + ", which is this program");
  report.failed(Subject::Listener, shown + " is taken by " + who, io::listen_remedy(EADDRINUSE));
}

void refused(const std::string& shown, int sys, Report& report) {
  report.failed(Subject::Listener, shown + " cannot be used: " + std::strerror(sys), io::listen_remedy(sys));
}

void check_tcp(const std::string& shown, const io::SocketAddress& address, Report& report) {
  const io::Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return refused(shown, errno, report);
  const int on = 1;  // as the listener: connections in TIME_WAIT are in nobody's way
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.raw(), address.size()) == 0)
    return report.ok(Subject::Listener, shown + " is free");
  const int sys = errno;
  if (sys == EADDRINUSE) return taken(shown, holder_of_address(address), report);
  refused(shown, sys, report);
}

void check_unix(const std::string& shown, const io::SocketAddress& address, Report& report) {
  const fs::path file = address.host();
  const fs::path folder = file.parent_path();
  struct stat s {};
  if (::lstat(file.c_str(), &s) == 0) {
    if (!S_ISSOCK(s.st_mode)) return refused(shown, EEXIST, report);
    const io::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!probe) return refused(shown, errno, report);
    if (::connect(probe.get(), address.raw(), address.size()) == 0) {
      const auto peer = io::peer_process(probe.get());
      return taken(shown, peer && peer->pid > 0 ? std::optional(holder_of(peer->pid)) : std::nullopt, report);
    }
    if (errno != ECONNREFUSED) return taken(shown, std::nullopt, report);
  }
  // The listener makes the last directory itself, and none above it.
  std::error_code ignored;
  const bool there = fs::is_directory(folder, ignored);
  const fs::path writable = there ? folder : folder.parent_path();
  if (::access(writable.c_str(), W_OK | X_OK) != 0) return refused(shown, errno, report);
  report.ok(Subject::Listener, shown + " is free");
}

}  // namespace

std::optional<std::uint64_t> listening_inode(std::string_view table, std::string_view local) {
  const auto colon = local.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string wildcard = std::string(colon, '0') + std::string{local.substr(colon)};
  std::istringstream lines{std::string{table}};
  std::string row;
  std::getline(lines, row);  // names of the columns
  while (std::getline(lines, row)) {
    std::istringstream columns{row};
    std::string slot, at, peer, state, queues, timer, retransmits, uid, timeout;
    std::uint64_t inode = 0;
    if (!(columns >> slot >> at >> peer >> state >> queues >> timer >> retransmits >> uid >> timeout >>
          inode))
      continue;
    if (state == "0A" && (at == local || at == wildcard)) return inode;
  }
  return std::nullopt;
}

void check_listener(const conf::Address& where, Report& report) {
  const std::string shown = conf::to_string(where);
  if (where.is_unix()) {
    const auto address = io::SocketAddress::from_path(where.path);
    if (!address) return report.failed(Subject::Listener, address.error().what, "Choose a shorter path");
    if (where.path.starts_with('@'))
      return report.skipped(Subject::Listener, shown + " has no file to look at");
    return check_unix(shown, *address, report);
  }
  if (where.port == 0) return report.skipped(Subject::Listener, shown + ": the kernel chooses the port");
  const auto address = io::SocketAddress::from_ip(where.ip, where.port);
  if (!address) return report.failed(Subject::Listener, shown + " is not an IP address");
  check_tcp(shown, *address, report);
}

}  // namespace sidepool::check
