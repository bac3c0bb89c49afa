// shim.h — what Swift cannot import of Linux's sockets: feature-gated declarations and macros.
#ifndef SWARM_POSIX_SHIM_H
#define SWARM_POSIX_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#endif
