// conf/reference_page/main.cpp -- prints the reference page: build/debug/reference_page > docs/reference.md
#include <cstdio>
#include <string>

#include "conf/reference.h"

int main() {
  const std::string page = sidepool::conf::reference_page();
  return std::fwrite(page.data(), 1, page.size(), stdout) == page.size() ? 0 : 1;
}
