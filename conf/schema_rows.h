// conf/schema_rows.h -- how a row of the schema is written: row<&PoolConfig::size>("size", ...). Private to
// conf.
#pragma once
#include <chrono>
#include <limits>
#include <type_traits>

#include "conf/schema.h"

namespace sidepool::conf::rows {

template <class T>
struct MemberOf;
template <class S, class T>
struct MemberOf<T S::*> {
  using Struct = S;
  using Type = T;
};

template <auto Member>
Field field(void* section) {
  using M = MemberOf<decltype(Member)>;
  auto& member = static_cast<typename M::Struct*>(section)->*Member;
  if constexpr (std::is_enum_v<typename M::Type>) {
    static_assert(sizeof(member) == 1);
    return Choice{reinterpret_cast<std::uint8_t*>(&member)};
  } else {
    return &member;
  }
}

template <auto Member>
Field mode_field(void* section) {
  return Mode{&(static_cast<typename MemberOf<decltype(Member)>::Struct*>(section)->*Member)};
}

template <auto Member>
Field texts_field(void* section) {
  return Texts{&(static_cast<typename MemberOf<decltype(Member)>::Struct*>(section)->*Member)};
}

template <auto Member>
void* inside(void* parent) {
  return &(static_cast<typename MemberOf<decltype(Member)>::Struct*>(parent)->*Member);
}

// Ranges of durations, in nanoseconds.
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1000 * kMillisecond;
constexpr std::int64_t kHour = 3600 * kSecond;
constexpr std::int64_t kYear = 365 * 24 * kHour;
constexpr Range kAnyTime{0, kYear};              // 0: no limit
constexpr Range kSomeTime{kMillisecond, kYear};  // never 0
constexpr Range kWholeSeconds{0, 32767 * kSecond, kSecond};
constexpr Range kCount{0, 1'000'000};
constexpr Range kPositive{1, 1'000'000};

template <class E>
constexpr std::uint8_t value(E e) {
  return static_cast<std::uint8_t>(e);
}

}  // namespace sidepool::conf::rows
