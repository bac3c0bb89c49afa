// shim.h — libsrtp2 for Swift: its header, and functions for the macros that Swift cannot import.
#ifndef SWARM_SRTP2_SHIM_H
#define SWARM_SRTP2_SHIM_H

#include <srtp2/srtp.h>

#endif
