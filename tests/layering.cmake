# tests/layering.cmake -- cmake -D ROOT=<checkout> -P tests/layering.cmake: who may include what, by the #include lines.
#
#   conf, protocol   include nothing else of the project
#   pool             protocol
#   src/base         nothing else of the project; each other folder of src what FOLDER_MAY lists
#   tests, bench     everything
# Third-party headers stay in the few files that need them: they are slow to compile and their types must not leak.
cmake_minimum_required(VERSION 3.25)

function(complain file line_text why)
  message(SEND_ERROR "${file}: ${line_text}\n  ${why}")
endfunction()

# Standard headers that would give a pure library a thread, a clock, a file or randomness.
set(IMPURE thread future filesystem fstream iostream random ctime time.h condition_variable semaphore latch barrier csignal)

# Project folders that a folder may include besides itself.
set(MAY_protocol "")
set(MAY_conf "")
set(MAY_pool protocol)
set(MAY_src/base "")
set(MAY_src/io src/base src/tls) # io/stream.h is either a plain or a TLS stream
set(MAY_src/tls src/base src/io)
set(MAY_src/dns src/base src/io)
set(MAY_src/cloudsql src/base src/io src/tls src/dns)
set(MAY_src/upstream src/base src/io src/tls src/dns src/cloudsql protocol pool conf)
set(MAY_src/auth src/base protocol pool conf)
set(MAY_src/metrics src/base)
set(MAY_src/admin src/base src/io src/metrics)
set(MAY_src/worker src/base src/io src/tls src/dns src/cloudsql src/upstream src/auth src/metrics protocol pool conf)
set(MAY_src/check src/base src/io src/tls src/dns src/cloudsql src/upstream src/metrics src/worker protocol conf)
set(MAY_src/cli src/base conf)
set(MAY_src/commands src/base src/cli)
set(MAY_src/app src/base src/io src/tls src/dns src/cloudsql src/upstream src/auth src/metrics src/admin src/worker src/cli protocol pool conf)

# Third-party header (regular expression) -> files that may include it (regular expression).
set(CONFINED
    "^toml\\+\\+/|^toml\\.hpp" "^conf/parse\\.cpp$"
    "^openssl/" "^(protocol/(scram|password|md5|secret_bytes)[a-z0-9_]*\\.(h|cpp)|src/[a-z_]+/.*|src/[a-z_]+\\.(h|cpp))$"
    "^(nettle/|gmp)" "^src/cloudsql/client_key\\.cpp$"
    "^stringprep\\.h$" "^protocol/saslprep\\.cpp$"
    "^nlohmann/" "^src/(cloudsql/([a-z_]+\\.cpp|json_member\\.h)|cli/flat_json\\.cpp)$"
    "^yaml-cpp/" "^src/cli/flat_yaml\\.cpp$"
    "^curl/" "^src/(cloudsql/[a-z_]+|commands/request)\\.cpp$"
    "^ares" "^src/dns/[a-z_]+\\.cpp$"
    "^prometheus/" "^src/metrics/([a-z_]+\\.cpp|families\\.h)$"
    "^CLI/" "^src/cli/[a-z_]+\\.cpp$"
    "^(spdlog|fmt)/" "^src/"
    "^tl/" "^src/"
    "^uv\\.h$" "^src/"
    "^libpq-fe\\.h$" "^src/cli/")
# Headers of POSIX and Linux: only src does I/O.
set(SYSTEM "^(sys|netinet|arpa|linux|net)/|^(unistd|fcntl|poll|pthread|signal|spawn|netdb|errno|pwd|grp|sched|dlfcn|execinfo|malloc|sysexits|termios|syslog|dirent|time|resolv|ifaddrs|getopt)\\.h$")
# What protocol's files may use of libraries: hashing and Unicode tables are pure, random bytes are arguments.
set(PURE_LIBRARY "^openssl/(evp|hmac|sha|md5|crypto|kdf|core_names|params)\\.h$|^stringprep\\.h$")

function(check_project_include file layer include line)
  string(REGEX MATCH "^(protocol|pool|conf|tests|bench|src/[a-z_]+/|src/)" target "${include}")
  if(target STREQUAL "")
    complain("${file}" "${line}" "quoted includes are paths from the root of the project")
    return()
  endif()
  string(REGEX REPLACE "/$" "" target "${target}")
  if(target STREQUAL layer OR layer STREQUAL "src")
    return()
  endif()
  if(NOT target IN_LIST MAY_${layer})
    complain("${file}" "${line}" "${layer} may include of the project only: ${layer} ${MAY_${layer}}")
  endif()
endfunction()

function(check_system_include file layer include line)
  set(pure FALSE)
  if(layer MATCHES "^(protocol|pool|conf)$")
    set(pure TRUE)
  endif()
  list(LENGTH CONFINED count)
  math(EXPR last "${count} - 1")
  foreach(i RANGE 0 ${last} 2)
    math(EXPR j "${i} + 1")
    list(GET CONFINED ${i} header)
    list(GET CONFINED ${j} files)
    if(include MATCHES "${header}")
      if(NOT file MATCHES "${files}")
        complain("${file}" "${line}" "only files matching ${files} may include this")
      elseif(layer STREQUAL "protocol" AND NOT include MATCHES "${PURE_LIBRARY}")
        complain("${file}" "${line}" "protocol uses libcrypto for hashing only")
      endif()
      return()
    endif()
  endforeach()
  if(include MATCHES "${SYSTEM}")
    if(pure)
      complain("${file}" "${line}" "a pure library does no I/O and reads no clock")
    endif()
  elseif(NOT include MATCHES "^[a-z_0-9]+$" AND NOT include MATCHES "^(string|stdint|stddef|stdlib|limits)\\.h$")
    complain("${file}" "${line}" "unknown third-party header: name its place in tests/layering.cmake")
  elseif(pure AND include IN_LIST IMPURE)
    complain("${file}" "${line}" "pure libraries get time, random bytes and threads from their caller")
  endif()
endfunction()

function(check_file file)
  string(REGEX MATCH "^(protocol|pool|conf|src/[a-z_]+/|src)" layer "${file}")
  string(REGEX REPLACE "/$" "" layer "${layer}")
  if(layer MATCHES "^src/" AND NOT DEFINED MAY_${layer})
    complain("${file}" "" "unknown folder: name it in tests/layering.cmake")
    return()
  endif()
  file(STRINGS "${ROOT}/${file}" lines REGEX "^[ \t]*#[ \t]*include")
  foreach(line IN LISTS lines)
    if(line MATCHES "#[ \t]*include[ \t]*\"([^\"]+)\"")
      check_project_include("${file}" "${layer}" "${CMAKE_MATCH_1}" "${line}")
    elseif(line MATCHES "#[ \t]*include[ \t]*<([^>]+)>")
      check_system_include("${file}" "${layer}" "${CMAKE_MATCH_1}" "${line}")
    endif()
  endforeach()
  if(layer MATCHES "^(protocol|pool|conf)$")
    file(STRINGS "${ROOT}/${file}" clocks REGEX "(steady|system|high_resolution)_clock::now|getenv\\(|thread_local")
    foreach(line IN LISTS clocks)
      complain("${file}" "${line}" "a pure library reads no clock, no environment, and has no global")
    endforeach()
  endif()
endfunction()

file(GLOB_RECURSE files RELATIVE "${ROOT}" "${ROOT}/protocol/*.h" "${ROOT}/protocol/*.cpp" "${ROOT}/pool/*.h" "${ROOT}/pool/*.cpp"
     "${ROOT}/conf/*.h" "${ROOT}/conf/*.cpp" "${ROOT}/src/*.h" "${ROOT}/src/*.cpp")
list(LENGTH files number)
if(number EQUAL 0)
  message(FATAL_ERROR "no sources under ${ROOT}")
endif()
foreach(file IN LISTS files)
  check_file("${file}")
endforeach()
message(STATUS "${number} files checked")
