// protocol/frame.h -- cuts a byte stream into slices of version 3 messages and copies nothing but a header
// that a read split in two. (PostgreSQL manual, "Message Flow": type byte, then a length that counts itself.)
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "protocol/bytes.h"

namespace sidepool::protocol {

// Part of one message. `bytes` points into the caller's input, or into the Framer when a read ended inside
// the five header bytes; valid until the next call to next(). Concatenated, the slices are the input.
struct Slice {
  char type;
  std::uint32_t body_size;  // of the whole message, without the length word
  Bytes bytes;              // the header too, when `first`
  bool first, last;         // this slice starts / ends the message

  // The part of the body in this slice.
  Bytes body() const noexcept { return first ? bytes.subspan(5) : bytes; }
};

// PostgreSQL's own limit for a body: what fits in one allocation (MaxAllocSize).
inline constexpr std::uint32_t kMaxBody = (1U << 30) - 1;

class Framer {
 public:
  explicit Framer(std::uint32_t max_body = kMaxBody) noexcept : max_body_(max_body) {}

  // Takes the next slice off the front of `in`. nullopt: feed more bytes, or bad() is set.
  std::optional<Slice> next(Bytes& in) noexcept {
    if (bad_ || in.empty()) return std::nullopt;
    if (left_ > 0) return body(in, 0, false);
    if (have_ == 0 && in.size() >= 5) {  // usual case: no copy, header and body in one slice
      if (!header(in.data())) return std::nullopt;
      return body(in, 5, true);
    }
    const auto n = std::min<std::size_t>(5U - have_, in.size());
    std::copy_n(in.begin(), n, head_.begin() + have_);
    have_ = static_cast<std::uint8_t>(have_ + n);
    in = in.subspan(n);
    if (have_ < 5 || !header(head_.data())) return std::nullopt;
    have_ = 0;
    return Slice{type_, left_, head_, true, left_ == 0};
  }

  // A length below 4 or above the limit was announced; the stream cannot be followed any more.
  bool bad() const noexcept { return bad_; }
  char bad_type() const noexcept { return static_cast<char>(head_[0]); }
  std::uint32_t bad_length() const noexcept { return load_be32(head_.data() + 1); }
  // Some of a message has been given out and some has not come.
  bool inside() const noexcept { return left_ > 0; }
  // No byte of an unfinished message has been taken.
  bool at_boundary() const noexcept { return left_ == 0 && have_ == 0; }

 private:
  bool header(const std::uint8_t* p) noexcept {
    const std::uint32_t n = load_be32(p + 1);
    if (n < 4 || n - 4 > max_body_) {
      if (p != head_.data()) std::copy_n(p, head_.size(), head_.begin());
      bad_ = true;
      return false;
    }
    type_ = static_cast<char>(p[0]);
    size_ = left_ = n - 4;
    return true;
  }
  Slice body(Bytes& in, std::size_t skip, bool first) noexcept {
    const auto take = std::min<std::size_t>(in.size() - skip, left_);
    left_ -= static_cast<std::uint32_t>(take);
    const Slice s{type_, size_, in.first(skip + take), first, left_ == 0};
    in = in.subspan(skip + take);
    return s;
  }

  std::array<std::uint8_t, 5> head_{};
  std::uint8_t have_ = 0;
  char type_ = 0;
  bool bad_ = false;
  std::uint32_t size_ = 0, left_ = 0, max_body_;
};

}  // namespace sidepool::protocol
