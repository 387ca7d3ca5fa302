// tests/checks/layering_wrong/pool/reads_a_socket.h -- a violation that tests/layering.cmake must find.
#pragma once
#include <sys/socket.h>
