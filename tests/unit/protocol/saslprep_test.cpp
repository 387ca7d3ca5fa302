// tests/unit/protocol/saslprep_test.cpp -- RFC 4013 §3, and what PostgreSQL does where that refuses.
#include "protocol/saslprep.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/scram.h"

namespace sidepool::protocol {
namespace {

std::string prepared(std::string_view password) { return std::string(saslprep(password).view()); }

TEST(Saslprep, ExamplesOfRfc4013) {
  EXPECT_EQ(prepared("I\u00ADX"), "IX") << "soft hyphen is mapped to nothing";
  EXPECT_EQ(prepared("user"), "user");
  EXPECT_EQ(prepared("USER"), "USER") << "case is kept";
  EXPECT_EQ(prepared("\u00AA"), "a") << "NFKC";
  EXPECT_EQ(prepared("\u2168"), "IX") << "NFKC";
  EXPECT_EQ(prepared("\u0007"), "\u0007") << "prohibited, so it stays as it is";
  EXPECT_EQ(prepared("\u0627\u0031"), "\u0627\u0031") << "fails the bidirectional check";
}

TEST(Saslprep, WhatUsersType) {
  EXPECT_EQ(prepared("re\u0301sume\u0301"), "r\u00E9sum\u00E9");
  EXPECT_EQ(prepared("r\u00E9sum\u00E9"), "r\u00E9sum\u00E9");
  EXPECT_EQ(prepared("a\u00A0b"), "a b") << "spaces are one space";
  EXPECT_EQ(prepared("\uFF21bc"), "Abc");
}

TEST(Saslprep, WhatCannotBePreparedStays) {
  for (const std::string& raw :
       {std::string("\xFF\xFE"), std::string("caf\xE9"), std::string("a\0\u00E9", 4), std::string("\u00AD"),
        std::string("\U0001F600"), std::string("\u00E9\u0007"), std::string()}) {
    EXPECT_EQ(prepared(raw), raw);
  }
}

TEST(Saslprep, KeysAreThoseOfThePreparedPassword) {
  const Buffer salt(16, 7);
  const auto typed = derive("re\u0301sume\u0301", salt, 4096),
             stored = derive("r\u00E9sum\u00E9", salt, 4096);
  ASSERT_TRUE(typed && stored);
  EXPECT_EQ(format_verifier(*make_verifier(*typed)), format_verifier(*make_verifier(*stored)));
}

}  // namespace
}  // namespace sidepool::protocol
