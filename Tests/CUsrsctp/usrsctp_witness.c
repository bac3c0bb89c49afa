// usrsctp_witness.c — the few functions and structures of libusrsctp's socket interface (RFC 6458) that the tests use,
// declared here, and found in the shared library at run time.

#include "usrsctp_witness.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>

// Addresses that are pointers: packets come and go by function calls.
enum { ADDRESS_FAMILY_CONN = 123, PROTOCOL_SCTP = 132, PORT = 5000, LARGEST_PACKET = 2048, RECEIVE_BUFFER = 1 << 20 };

struct address {
  uint16_t family;
  uint16_t port;
  void *socket;
};

union any_address {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct address conn;
};

// RFC 6458 §5.3.4, §5.3.5, §5.3.7, §5.3.11.
struct send_information {
  uint16_t stream, flags;
  uint32_t protocol, context, association;
};
struct reliability {
  uint16_t policy;
  uint32_t value;
};
struct send_attributes {
  uint32_t valid;
  struct send_information information;
  struct reliability reliability;
  uint16_t key;
};
struct receive_information {
  uint16_t stream, ssn, flags;
  uint32_t protocol, tsn, cumulative_tsn, context, association;
};

// RFC 6458 §6.1, RFC 6525 §6.1.
struct notification {
  uint16_t type, flags;
  uint32_t length;
};
struct association_change {
  struct notification header;
  uint16_t state, error, outbound_streams, inbound_streams;
  uint32_t association;
};
struct stream_reset_event {
  struct notification header;
  uint32_t association;
  uint16_t streams[];
};

struct association_value {
  uint32_t association, value;
};
struct initiation {
  uint16_t outbound_streams, inbound_streams, attempts, timeout;
};
struct subscription {
  uint32_t association;
  uint16_t type;
  uint8_t on;
};
struct reset_request {
  uint32_t association;
  uint16_t flags, count;
  uint16_t streams[1];
};
struct path_parameters {
  struct sockaddr_storage address;
  uint32_t association, heartbeat_interval, path_mtu, flags, flow_label;
  uint16_t most_retransmissions;
  uint8_t dscp;
};

// RFC 6458 §8.2.1; what is known of the path follows.
struct status {
  uint32_t association;
  int32_t state;
  uint32_t window;
  uint16_t unacknowledged, pending, inbound_streams, outbound_streams;
  uint32_t fragmentation_point;
  uint8_t path[256];
};

enum {
  OPTION_STATUS = 0x100,
  OPTION_INITIATION = 0x03,
  OPTION_NO_DELAY = 0x04,
  OPTION_PATH_PARAMETERS = 0x0a,
  OPTION_FRAGMENT_INTERLEAVE = 0x10,
  OPTION_PARTIAL_DELIVERY_POINT = 0x11,
  OPTION_EVENT = 0x1e,
  OPTION_RECEIVE_INFORMATION = 0x1f,
  OPTION_ENABLE_RESET = 0x900,
  OPTION_RESET_STREAMS = 0x901,
  OPTION_INTERLEAVING = 0x1206,
  EVENT_ASSOCIATION = 1,
  EVENT_STREAM_RESET = 9,
  STATE_UP = 1,
  STATE_LOST = 2,
  STATE_RESTARTED = 3,
  STATE_SHUT_DOWN = 4,
  STATE_CANNOT_START = 5,
  RESET_INCOMING = 1,
  RESET_OUTGOING = 2,
  RESET_DENIED = 4,
  RESET_FAILED = 8,
  SEND_UNORDERED = 0x400,
  ATTRIBUTES = 4,
  HAS_INFORMATION = 1,
  HAS_RELIABILITY = 2,
  FLAG_NOTIFICATION = 0x2000,
  PATH_MTU_DISCOVERY_OFF = 0x10,
};

struct socket;
typedef int send_function(void *address, void *packet, size_t count, uint8_t tos, uint8_t set_df);

static struct {
  void (*init_nothreads)(uint16_t port, send_function *send, void (*log)(const char *format, ...));
  struct socket *(*socket)(
      int family, int type, int protocol, void *receive, void *send, uint32_t threshold, void *argument);
  int (*setsockopt)(struct socket *socket, int level, int option, const void *value, socklen_t count);
  int (*getsockopt)(struct socket *socket, int level, int option, void *value, socklen_t *count);
  int (*bind)(struct socket *socket, struct sockaddr *address, socklen_t count);
  int (*connect)(struct socket *socket, struct sockaddr *address, socklen_t count);
  int (*listen)(struct socket *socket, int backlog);
  struct socket *(*accept)(struct socket *socket, struct sockaddr *address, socklen_t *count);
  ssize_t (*sendv)(
      struct socket *socket, const void *bytes, size_t count, struct sockaddr *to, int address_count, void *attributes,
      socklen_t attributes_count, unsigned type, int flags);
  ssize_t (*recvv)(
      struct socket *socket, void *buffer, size_t count, struct sockaddr *from, socklen_t *from_count,
      void *information, socklen_t *information_count, unsigned *type, int *flags);
  int (*shutdown)(struct socket *socket, int how);
  void (*close)(struct socket *socket);
  int (*set_non_blocking)(struct socket *socket, int on);
  void (*register_address)(void *address);
  void (*deregister_address)(void *address);
  void (*conninput)(void *address, const void *packet, size_t count, uint8_t ecn);
  void (*handle_timers)(uint32_t elapsed);
  int (*set_ecn)(uint32_t on);
  int (*set_asconf)(uint32_t on);
  int (*set_auth)(uint32_t on);
  int (*set_nr_sack)(uint32_t on);
  int (*set_packet_drop)(uint32_t on);
  int (*set_initial_timeout)(uint32_t milliseconds);
  int (*set_shortest_timeout)(uint32_t milliseconds);
  int (*set_longest_timeout)(uint32_t milliseconds);
  int (*set_longest_initiation_timeout)(uint32_t milliseconds);
} library;

struct packet {
  struct packet *next;
  size_t count;
  uint8_t bytes[LARGEST_PACKET];
};

struct witness {
  struct socket *listener, *socket;
  struct packet *first, **end;
  // A message that is being read piece by piece, or a notification.
  uint8_t *bytes;
  size_t count, room;
  // Streams of a notification that are yet to be told.
  uint16_t streams[256];
  size_t stream_count;
  enum witness_kind stream_kind;
};

static const struct {
  const char *name;
  void **function;
} names[] = {
    {"usrsctp_init_nothreads", (void **)&library.init_nothreads},
    {"usrsctp_socket", (void **)&library.socket},
    {"usrsctp_setsockopt", (void **)&library.setsockopt},
    {"usrsctp_getsockopt", (void **)&library.getsockopt},
    {"usrsctp_bind", (void **)&library.bind},
    {"usrsctp_connect", (void **)&library.connect},
    {"usrsctp_listen", (void **)&library.listen},
    {"usrsctp_accept", (void **)&library.accept},
    {"usrsctp_sendv", (void **)&library.sendv},
    {"usrsctp_recvv", (void **)&library.recvv},
    {"usrsctp_shutdown", (void **)&library.shutdown},
    {"usrsctp_close", (void **)&library.close},
    {"usrsctp_set_non_blocking", (void **)&library.set_non_blocking},
    {"usrsctp_register_address", (void **)&library.register_address},
    {"usrsctp_deregister_address", (void **)&library.deregister_address},
    {"usrsctp_conninput", (void **)&library.conninput},
    {"usrsctp_handle_timers", (void **)&library.handle_timers},
    {"usrsctp_sysctl_set_sctp_ecn_enable", (void **)&library.set_ecn},
    {"usrsctp_sysctl_set_sctp_asconf_enable", (void **)&library.set_asconf},
    {"usrsctp_sysctl_set_sctp_auth_enable", (void **)&library.set_auth},
    {"usrsctp_sysctl_set_sctp_nrsack_enable", (void **)&library.set_nr_sack},
    {"usrsctp_sysctl_set_sctp_pktdrop_enable", (void **)&library.set_packet_drop},
    {"usrsctp_sysctl_set_sctp_rto_initial_default", (void **)&library.set_initial_timeout},
    {"usrsctp_sysctl_set_sctp_rto_min_default", (void **)&library.set_shortest_timeout},
    {"usrsctp_sysctl_set_sctp_rto_max_default", (void **)&library.set_longest_timeout},
    {"usrsctp_sysctl_set_sctp_init_rto_max_default", (void **)&library.set_longest_initiation_timeout},
};

static int queue_packet(void *address, void *bytes, size_t count, uint8_t tos, uint8_t set_df) {
  (void)tos;
  (void)set_df;
  witness *w = address;
  if (count > LARGEST_PACKET) return EMSGSIZE;
  struct packet *packet = malloc(sizeof *packet);
  if (packet == NULL) return ENOMEM;
  packet->next = NULL;
  packet->count = count;
  memcpy(packet->bytes, bytes, count);
  *w->end = packet;
  w->end = &packet->next;
  return 0;
}

const char *witness_load(void) {
  static bool is_loaded;
  if (is_loaded) return NULL;
  void *handle = dlopen("libusrsctp.so.2", RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) handle = dlopen("libusrsctp.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) return dlerror();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    *names[i].function = dlsym(handle, names[i].name);
    if (*names[i].function == NULL) return dlerror();
  }
  library.init_nothreads(0, queue_packet, NULL);
  library.set_ecn(0);
  library.set_asconf(0);
  library.set_auth(0);
  library.set_nr_sack(0);
  library.set_packet_drop(0);
  // As Firefox sets them, more or less: nobody waits a minute.
  library.set_shortest_timeout(250);
  library.set_initial_timeout(500);
  library.set_longest_timeout(5000);
  library.set_longest_initiation_timeout(5000);
  is_loaded = true;
  return NULL;
}

void witness_elapse(uint32_t milliseconds) { library.handle_timers(milliseconds); }

static bool set(struct socket *socket, int option, const void *value, socklen_t count) {
  return library.setsockopt(socket, PROTOCOL_SCTP, option, value, count) == 0;
}

static bool configure(struct socket *socket, uint16_t streams, bool interleaves) {
  const uint32_t on = 1, all_streams = 2, receive_buffer = RECEIVE_BUFFER, whole_messages = RECEIVE_BUFFER / 2;
  const struct association_value interleaving = {0, interleaves};
  const struct initiation initiation = {streams, streams, 100, 0};
  const struct association_value resets = {2, 1};  // all associations; requests to reset streams
  const struct subscription changes = {2, EVENT_ASSOCIATION, 1}, reset_events = {2, EVENT_STREAM_RESET, 1};
  // Of a packet 1,188 bytes, as of ours: usrsctp counts no header below SCTP's for such addresses.
  struct path_parameters path = {.path_mtu = 1188, .flags = PATH_MTU_DISCOVERY_OFF, .most_retransmissions = 100};
  path.address.ss_family = ADDRESS_FAMILY_CONN;
  (void)set(socket, OPTION_PATH_PARAMETERS, &path, sizeof path);
  return library.set_non_blocking(socket, 1) == 0 && set(socket, OPTION_NO_DELAY, &on, sizeof on) &&
         set(socket, OPTION_INITIATION, &initiation, sizeof initiation) &&
         set(socket, OPTION_ENABLE_RESET, &resets, sizeof resets) &&
         set(socket, OPTION_RECEIVE_INFORMATION, &on, sizeof on) &&
         set(socket, OPTION_EVENT, &changes, sizeof changes) &&
         set(socket, OPTION_EVENT, &reset_events, sizeof reset_events) &&
         library.setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) == 0 &&
         set(socket, OPTION_PARTIAL_DELIVERY_POINT, &whole_messages, sizeof whole_messages) &&
         (!interleaves || (set(socket, OPTION_FRAGMENT_INTERLEAVE, &all_streams, sizeof all_streams) &&
                           set(socket, OPTION_INTERLEAVING, &interleaving, sizeof interleaving)));
}

witness *witness_open(uint16_t streams, bool interleaves, bool listens_only) {
  witness *w = calloc(1, sizeof *w);
  if (w == NULL) return NULL;
  w->end = &w->first;
  library.register_address(w);
  struct address address = {ADDRESS_FAMILY_CONN, htons(PORT), w};
  struct socket *socket = library.socket(ADDRESS_FAMILY_CONN, SOCK_STREAM, PROTOCOL_SCTP, NULL, NULL, 0, NULL);
  if (listens_only) w->listener = socket; else w->socket = socket;
  bool works = socket != NULL && configure(socket, streams, interleaves) &&
               library.bind(socket, (struct sockaddr *)&address, sizeof address) == 0;
  if (works && listens_only) {
    works = library.listen(socket, 1) == 0;
  } else if (works) {
    works = library.connect(socket, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS;
  }
  if (works) return w;
  witness_free(w);
  return NULL;
}

void witness_free(witness *w) {
  const struct linger at_once = {1, 0};
  struct socket *sockets[2] = {w->socket, w->listener};
  for (int i = 0; i < 2; i++) {
    if (sockets[i] == NULL) continue;
    (void)library.setsockopt(sockets[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    library.close(sockets[i]);
  }
  library.deregister_address(w);
  uint8_t packet[LARGEST_PACKET];
  while (witness_output(w, packet, sizeof packet) > 0) {}
  free(w->bytes);
  free(w);
}

void witness_input(witness *w, const void *packet, size_t count) { library.conninput(w, packet, count, 0); }

size_t witness_output(witness *w, void *buffer, size_t room) {
  struct packet *packet = w->first;
  if (packet == NULL || packet->count > room) return 0;
  size_t count = packet->count;
  memcpy(buffer, packet->bytes, count);
  w->first = packet->next;
  if (w->first == NULL) w->end = &w->first;
  free(packet);
  return count;
}

int witness_send(
    witness *w, uint16_t stream, uint32_t protocol, bool is_ordered, enum witness_policy policy, uint32_t value,
    const void *bytes, size_t count) {
  if (w->socket == NULL) return ENOTCONN;
  struct send_attributes attributes = {
      .valid = HAS_INFORMATION | HAS_RELIABILITY,
      .information = {.stream = stream, .flags = is_ordered ? 0 : SEND_UNORDERED, .protocol = htonl(protocol)},
      .reliability = {.policy = (uint16_t)policy, .value = value},
  };
  ssize_t sent = library.sendv(w->socket, bytes, count, NULL, 0, &attributes, sizeof attributes, ATTRIBUTES, 0);
  return sent == (ssize_t)count ? 0 : sent < 0 ? errno : EMSGSIZE;
}

// MARK: News

static struct witness_news stream_news(witness *w) {
  struct witness_news news = {.kind = w->stream_kind, .stream = w->streams[0]};
  memmove(w->streams, w->streams + 1, --w->stream_count * sizeof *w->streams);
  return news;
}

// What a notification says; WITNESS_NOTHING when it is of no interest.
static struct witness_news read_notification(witness *w, const uint8_t *bytes, size_t count) {
  struct witness_news news = {.kind = WITNESS_NOTHING};
  struct notification header;
  if (count < sizeof header) return news;
  memcpy(&header, bytes, sizeof header);
  if (header.type == EVENT_ASSOCIATION && count >= sizeof(struct association_change)) {
    struct association_change change;
    memcpy(&change, bytes, sizeof change);
    switch (change.state) {
      case STATE_UP: news.kind = WITNESS_UP; break;
      case STATE_RESTARTED:
        w->count = 0;
        news.kind = WITNESS_RESTARTED;
        break;
      case STATE_SHUT_DOWN: news.kind = WITNESS_SHUT_DOWN; break;
      case STATE_LOST:
      case STATE_CANNOT_START: news.kind = WITNESS_LOST; break;
    }
  } else if (header.type == EVENT_STREAM_RESET && header.length <= count) {
    size_t begin = sizeof(struct stream_reset_event);
    size_t streams = header.length > begin ? (header.length - begin) / sizeof(uint16_t) : 0;
    if (streams > sizeof w->streams / sizeof *w->streams) streams = sizeof w->streams / sizeof *w->streams;
    memcpy(w->streams, bytes + begin, streams * sizeof(uint16_t));
    w->stream_count = streams;
    w->stream_kind = header.flags & (RESET_DENIED | RESET_FAILED) ? WITNESS_RESET_REFUSED
                     : header.flags & RESET_INCOMING              ? WITNESS_INCOMING_RESET
                                                                  : WITNESS_OUTGOING_RESET;
    if (streams > 0) return stream_news(w);
  }
  return news;
}

struct witness_news witness_poll(witness *w) {
  const struct witness_news nothing = {.kind = WITNESS_NOTHING};
  if (w->stream_count > 0) return stream_news(w);
  if (w->socket == NULL && w->listener != NULL) w->socket = library.accept(w->listener, NULL, NULL);
  if (w->socket == NULL) return nothing;
  for (;;) {
    if (w->room - w->count < 65536) {
      uint8_t *larger = realloc(w->bytes, w->room + 131072);
      if (larger == NULL) return nothing;
      w->bytes = larger;
      w->room += 131072;
    }
    struct address from;
    socklen_t from_count = sizeof from;
    struct receive_information information = {0};
    socklen_t information_count = sizeof information;
    unsigned type = 0;
    int flags = 0;
    ssize_t count = library.recvv(
        w->socket, w->bytes + w->count, w->room - w->count, (struct sockaddr *)&from, &from_count, &information,
        &information_count, &type, &flags);
    if (count <= 0) return nothing;
    if (flags & FLAG_NOTIFICATION) {
      struct witness_news news = read_notification(w, w->bytes + w->count, (size_t)count);
      if (news.kind != WITNESS_NOTHING) return news;
      continue;
    }
    w->count += (size_t)count;
    if (!(flags & MSG_EOR)) continue;
    struct witness_news news = {
        .kind = WITNESS_MESSAGE,
        .stream = information.stream,
        .protocol = ntohl(information.protocol),
        .bytes = w->bytes,
        .count = w->count,
    };
    w->count = 0;
    return news;
  }
}

// MARK: Streams and the end

int witness_reset(witness *w, uint16_t stream) {
  if (w->socket == NULL) return ENOTCONN;
  struct reset_request request = {.association = 0, .flags = RESET_OUTGOING, .count = 1, .streams = {stream}};
  return set(w->socket, OPTION_RESET_STREAMS, &request, sizeof request) ? 0 : errno;
}

bool witness_is_drained(witness *w) {
  struct status status = {0};
  socklen_t count = sizeof status;
  if (w->socket == NULL || library.getsockopt(w->socket, PROTOCOL_SCTP, OPTION_STATUS, &status, &count) != 0) return true;
  return status.unacknowledged == 0 && status.pending == 0;
}

void witness_shut_down(witness *w) {
  if (w->socket != NULL) (void)library.shutdown(w->socket, SHUT_WR);
}
