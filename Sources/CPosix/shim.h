// shim.h — what Swift cannot import of Linux's sockets: calls hidden behind feature macros, and the structures
// (control messages) that only macros reach.
#ifndef SWARM_POSIX_SHIM_H
#define SWARM_POSIX_SHIM_H

// No feature macro is defined here: Swift's Glibc module is built without any, and two readings of one system header
// in one compilation do not agree.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// Absent from older userland headers; the numbers are the kernel's ABI.
enum {
  SWARM_SOL_UDP = 17,
  SWARM_UDP_SEGMENT = 103,
  SWARM_UDP_GRO = 104,
  SWARM_SO_SNDBUFFORCE = 32,
  SWARM_SO_RCVBUFFORCE = 33,
  SWARM_IP_MTU_DISCOVER = 10,
  SWARM_IPV6_MTU_DISCOVER = 23,
  SWARM_PMTUDISC_DONT = 0,   // of both families: the kernel cuts what is too long
  SWARM_PMTUDISC_PROBE = 3,  // nobody cuts, and what the kernel believes about the path does not matter
  SWARM_TCP_NODELAY = 1,
  SWARM_TCP_NOTSENT_LOWAT = 25,
};

// MARK: Multicast and netlink: structures that hide behind feature macros, as the kernel lays them out.

struct swarm_membership_v4 { struct in_addr group, address; int interface; };      // struct ip_mreqn
struct swarm_membership_v6 { struct in6_addr group; int interface; };              // struct ipv6_mreq
struct swarm_netlink_name { uint16_t family, padding; uint32_t process, groups; };  // struct sockaddr_nl
enum {
  SWARM_IP_MULTICAST_IF = 32, SWARM_IP_MULTICAST_TTL = 33, SWARM_IP_MULTICAST_LOOP = 34, SWARM_IP_ADD_MEMBERSHIP = 35,
  SWARM_IP_MULTICAST_ALL = 49,
  SWARM_IPV6_MULTICAST_IF = 17, SWARM_IPV6_MULTICAST_HOPS = 18, SWARM_IPV6_MULTICAST_LOOP = 19,
  SWARM_IPV6_ADD_MEMBERSHIP = 20, SWARM_IPV6_MULTICAST_ALL = 29,
  SWARM_SO_REUSEPORT = 15,
};

// Sends multicast through one interface. All return 0 or the negated errno.
static inline int swarm_multicast_interface(int socket, int is_v4, int interface) {
  struct swarm_membership_v4 v4 = {.interface = interface};
  int result = is_v4 ? setsockopt(socket, IPPROTO_IP, SWARM_IP_MULTICAST_IF, &v4, sizeof v4)
                     : setsockopt(socket, IPPROTO_IPV6, SWARM_IPV6_MULTICAST_IF, &interface, sizeof interface);
  return result < 0 ? -errno : 0;
}
// Receives what is sent to `group` and arrives at one interface.
static inline int swarm_multicast_join(int socket, const struct sockaddr_in6 *group, int interface) {
  int result;
  if (group->sin6_family == AF_INET) {
    struct swarm_membership_v4 v4 = {
        .group = ((const struct sockaddr_in *)(const void *)group)->sin_addr, .interface = interface};
    result = setsockopt(socket, IPPROTO_IP, SWARM_IP_ADD_MEMBERSHIP, &v4, sizeof v4);
  } else {
    struct swarm_membership_v6 v6 = {.group = group->sin6_addr, .interface = interface};
    result = setsockopt(socket, IPPROTO_IPV6, SWARM_IPV6_ADD_MEMBERSHIP, &v6, sizeof v6);
  }
  return result < 0 ? -errno : 0;
}

// A socket of NETLINK_ROUTE that hears `groups`; the descriptor, or -1 and errno.
static inline int swarm_netlink_open(uint32_t groups) {
  const int netlink_route = 0;
  int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, netlink_route);
  if (descriptor < 0) return -1;
  struct swarm_netlink_name name = {.family = AF_NETLINK, .groups = groups};
  if (bind(descriptor, (const struct sockaddr *)(const void *)&name, sizeof name) == 0) return descriptor;
  int code = errno;
  (void)close(descriptor);
  errno = code;
  return -1;
}

// MARK: Streams

// The next connection, non-blocking and closed on exec, with the address it came from; or the negated errno.
static inline int swarm_accept(int listener, struct sockaddr_in6 *name) {
  socklen_t length = sizeof *name;
  long descriptor = syscall(SYS_accept4, listener, name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return descriptor < 0 ? -errno : (int)descriptor;
}

// Both return the number of bytes, or the negated errno; receiving 0 is the other side's end of the stream.
static inline long swarm_stream_receive(int socket, void *bytes, size_t capacity) {
  ssize_t count = recv(socket, bytes, capacity, MSG_DONTWAIT);
  return count < 0 ? -(long)errno : (long)count;
}
static inline long swarm_stream_send(int socket, const void *bytes, size_t count) {
  ssize_t sent = send(socket, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -(long)errno : (long)sent;
}

// MARK: Batches of messages

// One entry of recvmmsg and sendmmsg. Laid out as the kernel's `struct mmsghdr`, whose declaration hides behind
// _GNU_SOURCE, which a module that was imported earlier may have been built without.
struct swarm_message {
  struct msghdr header;
  unsigned int byte_count;
};

// Room for one control message with one int: a segment size, in either direction.
struct swarm_control {
  _Alignas(struct cmsghdr) unsigned char bytes[CMSG_SPACE(sizeof(int))];
};

// Fills `message` to send `count` bytes to `name`, cut by the kernel into datagrams of `segment` bytes unless that is 0.
static inline void swarm_message_prepare_send(
    struct swarm_message *message, struct iovec *vector, void *bytes, size_t count, struct sockaddr_in6 *name,
    socklen_t name_length, struct swarm_control *control, uint16_t segment) {
  vector->iov_base = bytes;
  vector->iov_len = count;
  message->header.msg_name = name;
  message->header.msg_namelen = name_length;
  message->header.msg_iov = vector;
  message->header.msg_iovlen = 1;
  message->header.msg_flags = 0;
  message->byte_count = 0;
  if (segment == 0) {
    message->header.msg_control = NULL;
    message->header.msg_controllen = 0;
    return;
  }
  struct cmsghdr *c = (struct cmsghdr *)(void *)control->bytes;
  c->cmsg_level = SWARM_SOL_UDP;
  c->cmsg_type = SWARM_UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN(sizeof segment);
  memcpy(CMSG_DATA(c), &segment, sizeof segment);
  message->header.msg_control = control->bytes;
  message->header.msg_controllen = CMSG_SPACE(sizeof segment);
}

// Readies `message` for recvmmsg; to be called again before each reuse, because the kernel overwrites the lengths.
static inline void swarm_message_prepare_receive(
    struct swarm_message *message, struct iovec *vector, void *bytes, size_t capacity, struct sockaddr_in6 *name,
    struct swarm_control *control) {
  vector->iov_base = bytes;
  vector->iov_len = capacity;
  message->header.msg_name = name;
  message->header.msg_namelen = sizeof *name;
  message->header.msg_iov = vector;
  message->header.msg_iovlen = 1;
  message->header.msg_control = control->bytes;
  message->header.msg_controllen = sizeof control->bytes;
  message->header.msg_flags = 0;
  message->byte_count = 0;
}

// The size of the datagrams that UDP_GRO joined into this message; 0 when it is a single datagram.
static inline int swarm_message_segment_size(struct swarm_message *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message->header); c != NULL; c = CMSG_NXTHDR(&message->header, c)) {
    if (c->cmsg_level == SWARM_SOL_UDP && c->cmsg_type == SWARM_UDP_GRO && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
      int size;
      memcpy(&size, CMSG_DATA(c), sizeof size);
      return size;
    }
  }
  return 0;
}

// Both return the number of messages done, or the negated errno.
static inline int swarm_send_messages(int socket, struct swarm_message *messages, unsigned int count) {
  long done = syscall(SYS_sendmmsg, socket, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  return done < 0 ? -errno : (int)done;
}
static inline int swarm_receive_messages(int socket, struct swarm_message *messages, unsigned int count) {
  long done = syscall(SYS_recvmmsg, socket, messages, count, MSG_DONTWAIT, NULL);
  return done < 0 ? -errno : (int)done;
}

// MARK: Waiting

// epoll_wait with nanoseconds (Linux 5.11). Returns the number of events, or the negated errno: -ENOSYS where the
// kernel, or a sandbox, has no such call. `nanoseconds` < 0 waits without end.
static inline int swarm_epoll_wait_precise(int epoll, struct epoll_event *events, int capacity, int64_t nanoseconds) {
#ifdef SYS_epoll_pwait2
  // The kernel's __kernel_timespec has 64-bit fields on every architecture.
  struct { int64_t seconds, nanoseconds; } timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  long ready = syscall(
      SYS_epoll_pwait2, epoll, events, capacity, nanoseconds < 0 ? NULL : (void *)&timeout, NULL, (size_t)0);
  return ready < 0 ? -errno : (int)ready;
#else
  (void)epoll, (void)events, (void)capacity, (void)nanoseconds;
  return -ENOSYS;
#endif
}

static inline int swarm_epoll_wait(int epoll, struct epoll_event *events, int capacity, int milliseconds) {
  int ready = epoll_wait(epoll, events, capacity, milliseconds);
  return ready < 0 ? -errno : ready;
}

// Adds or changes what is watched on `descriptor`; `token` comes back with its events.
static inline int swarm_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, operation, descriptor, &event) < 0 ? -errno : 0;
}

static inline uint32_t swarm_event_mask(const struct epoll_event *event) { return event->events; }
static inline uint64_t swarm_event_token(const struct epoll_event *event) { return event->data.u64; }

// Fires once at the absolute CLOCK_MONOTONIC time `nanoseconds`.
static inline int swarm_timer_arm(int timer, int64_t nanoseconds) {
  struct itimerspec when = {
      .it_value = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000}};
  return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

// MARK: Threads

// Names the calling thread (at most 15 bytes count) and asks for timers without the default slack of 50 µs.
static inline void swarm_thread_prepare(const char *name, unsigned long timer_slack_nanoseconds) {
  (void)prctl(PR_SET_NAME, name, 0, 0, 0);
  (void)prctl(PR_SET_TIMERSLACK, timer_slack_nanoseconds, 0, 0, 0);
}

static inline uintptr_t swarm_thread_id(void) { return (uintptr_t)pthread_self(); }

#endif
