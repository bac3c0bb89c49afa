// wanlink: a wide-area link between two network namespaces, in user space.
//
// The kernel here has no netem, so this makes a TUN device in each of two namespaces and carries
// IP packets between them with delay, jitter, loss, duplication, a rate and a bounded queue.
// The same seed gives the same losses for the same sequence of packets.
//
//   cc -O2 -o ./wanlink wanlink.c
//   ip netns add a; ip netns add b
//   ./wanlink a 10.77.0.1 b 10.77.0.2 --delay-ms 25 --loss 1 --rate-mbit 100 --queue-kb 512 &
//   ip netns exec a your-server 10.77.0.1 …
//
// --delay-ms is one way. It runs until killed or for --seconds N, and then prints one JSON line per direction; the
// waiting times in it are those of packets that came later than --measure-after SECONDS. On SIGUSR1 packets longer than
// --black-hole BYTES begin to vanish without a word, as where a path's MTU falls and no router says so.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PACKET = 65536, SLOTS = 1 << 16 };

struct packet { uint64_t due; uint32_t length; uint8_t *bytes; };

// A min-heap by due time, so that jitter and reordering are possible.
struct direction {
    const char *name;
    int from, to;
    struct packet heap[SLOTS];
    size_t count;
    uint64_t queued_bytes, link_free_at;
    uint64_t in, out, lost, overflowed, duplicated, out_bytes, too_long;
    // How long packets waited for the link to be free.
    uint64_t waits, longest_wait;
    double sum_of_waits;
};

static double delay_ms, jitter_ms, loss_percent, duplicate_percent, reorder_percent, rate_mbit;
static uint64_t queue_bytes = 1 << 20, seed = 1;
static int mtu = 1500;
static uint32_t black_hole;
static uint64_t measures_from;
static volatile sig_atomic_t stopping, is_path_narrow;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double uniform(void) {  // xorshift64*
    seed ^= seed >> 12; seed ^= seed << 25; seed ^= seed >> 27;
    return (double)((seed * 2685821657736338717ull) >> 11) / 9007199254740992.0;
}

static void die(const char *what) { perror(what); exit(1); }

static int open_tun(const char *ns, const char *address, const char *device) {
    char path[128];
    snprintf(path, sizeof path, "/var/run/netns/%s", ns);
    int nsfd = open(path, O_RDONLY | O_CLOEXEC);
    if (nsfd < 0 || setns(nsfd, CLONE_NEWNET) < 0) die(path);
    close(nsfd);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) die("/dev/net/tun");
    struct ifreq request = {0};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    snprintf(request.ifr_name, IFNAMSIZ, "%s", device);
    if (ioctl(fd, TUNSETIFF, &request) < 0) die("TUNSETIFF");
    char command[512];
    snprintf(command, sizeof command,
             "ip addr add %s/24 dev %s && ip link set %s mtu %d txqueuelen 10000 up && ip link set lo up",
             address, device, device, mtu);
    if (system(command) != 0) exit(1);
    return fd;
}

static void push(struct direction *d, struct packet p) {
    if (d->count == SLOTS) { d->overflowed++; free(p.bytes); return; }
    size_t i = d->count++;
    while (i > 0 && d->heap[(i - 1) / 2].due > p.due) { d->heap[i] = d->heap[(i - 1) / 2]; i = (i - 1) / 2; }
    d->heap[i] = p;
    d->queued_bytes += p.length;
}

static struct packet pop(struct direction *d) {
    struct packet top = d->heap[0], last = d->heap[--d->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= d->count) break;
        if (child + 1 < d->count && d->heap[child + 1].due < d->heap[child].due) child++;
        if (d->heap[child].due >= last.due) break;
        d->heap[i] = d->heap[child];
        i = child;
    }
    d->heap[i] = last;
    d->queued_bytes -= top.length;
    return top;
}

static void accept_packet(struct direction *d, const uint8_t *bytes, uint32_t length, uint64_t now) {
    d->in++;
    if (is_path_narrow && length > black_hole) { d->too_long++; return; }
    if (uniform() * 100 < loss_percent) { d->lost++; return; }
    int copies = uniform() * 100 < duplicate_percent ? 2 : 1;
    d->duplicated += (uint64_t)(copies - 1);
    while (copies-- > 0) {
        uint64_t start = now;
        if (rate_mbit > 0) {
            if (d->link_free_at < now) d->link_free_at = now;
            double waiting_bytes = (double)(d->link_free_at - now) * rate_mbit / 8000.0;
            if (waiting_bytes + length > (double)queue_bytes) { d->overflowed++; continue; }
            if (now >= measures_from) {
                uint64_t wait = d->link_free_at - now;
                d->waits++;
                d->sum_of_waits += (double)wait;
                if (wait > d->longest_wait) d->longest_wait = wait;
            }
            d->link_free_at += (uint64_t)(length * 8000.0 / rate_mbit);
            start = d->link_free_at;
        }
        double extra = jitter_ms * uniform();
        if (uniform() * 100 < reorder_percent) extra -= delay_ms / 2;  // overtakes its elders
        double total = delay_ms + extra;
        struct packet p = {start + (uint64_t)((total > 0 ? total : 0) * 1e6), length, malloc(length)};
        memcpy(p.bytes, bytes, length);
        push(d, p);
    }
}

static void stop(int signal) { (void)signal; stopping = 1; }
static void narrow(int signal) { (void)signal; is_path_narrow = 1; }

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: wanlink NS_A ADDRESS_A NS_B ADDRESS_B [--delay-ms N] [--jitter-ms N] [--loss PERCENT]"
                        " [--duplicate PERCENT] [--reorder PERCENT] [--rate-mbit N] [--queue-kb N] [--mtu N] [--seed N] [--seconds N]"
                        " [--measure-after SECONDS] [--black-hole BYTES]\n");
        return 2;
    }
    double seconds = 0;
    for (int i = 5; i + 1 < argc; i += 2) {
        double v = atof(argv[i + 1]);
        if (!strcmp(argv[i], "--delay-ms")) delay_ms = v;
        else if (!strcmp(argv[i], "--jitter-ms")) jitter_ms = v;
        else if (!strcmp(argv[i], "--loss")) loss_percent = v;
        else if (!strcmp(argv[i], "--duplicate")) duplicate_percent = v;
        else if (!strcmp(argv[i], "--reorder")) reorder_percent = v;
        else if (!strcmp(argv[i], "--rate-mbit")) rate_mbit = v;
        else if (!strcmp(argv[i], "--queue-kb")) queue_bytes = (uint64_t)(v * 1024);
        else if (!strcmp(argv[i], "--mtu")) mtu = (int)v;
        else if (!strcmp(argv[i], "--seed")) seed = (uint64_t)v * 0x9E3779B97F4A7C15ull | 1;
        else if (!strcmp(argv[i], "--seconds")) seconds = v;
        else if (!strcmp(argv[i], "--measure-after")) measures_from = now_ns() + (uint64_t)(v * 1e9);
        else if (!strcmp(argv[i], "--black-hole")) black_hole = (uint32_t)v;
        else { fprintf(stderr, "wanlink: no option %s\n", argv[i]); return 2; }
    }
    int a = open_tun(argv[1], argv[2], "wan0");
    int b = open_tun(argv[3], argv[4], "wan0");
    static struct direction ab, ba;
    ab.name = "a->b"; ab.from = a; ab.to = b;
    ba.name = "b->a"; ba.from = b; ba.to = a;
    struct direction *both[2] = {&ab, &ba};
    signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGUSR1, narrow);
    printf("wanlink up: %s %s <-> %s %s\n", argv[1], argv[2], argv[3], argv[4]);
    fflush(stdout);
    uint64_t ends = seconds > 0 ? now_ns() + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    static uint8_t buffer[MAX_PACKET];
    while (!stopping) {
        uint64_t now = now_ns(), next = ends;
        if (now >= ends) break;
        for (int i = 0; i < 2; i++) {
            struct direction *d = both[i];
            for (int n = 0; n < 256; n++) {
                ssize_t length = read(d->from, buffer, sizeof buffer);
                if (length <= 0) break;
                accept_packet(d, buffer, (uint32_t)length, now_ns());
            }
            now = now_ns();
            while (d->count && d->heap[0].due <= now) {
                struct packet p = pop(d);
                if (write(d->to, p.bytes, p.length) == (ssize_t)p.length) { d->out++; d->out_bytes += p.length; }
                free(p.bytes);
            }
            if (d->count && d->heap[0].due < next) next = d->heap[0].due;
        }
        struct pollfd fds[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
        now = now_ns();
        if (next > now) {
            struct timespec wait = {(time_t)((next - now) / 1000000000u), (long)((next - now) % 1000000000u)};
            if (next == UINT64_MAX) ppoll(fds, 2, NULL, NULL);
            else ppoll(fds, 2, &wait, NULL);
        }
    }
    for (int i = 0; i < 2; i++)
        printf("{\"direction\":\"%s\",\"in\":%llu,\"out\":%llu,\"lost\":%llu,\"overflowed\":%llu,\"duplicated\":%llu,\"out_bytes\":%llu,"
               "\"too_long\":%llu,\"mean_wait_ms\":%.3f,\"longest_wait_ms\":%.3f}\n",
               both[i]->name, (unsigned long long)both[i]->in, (unsigned long long)both[i]->out,
               (unsigned long long)both[i]->lost, (unsigned long long)both[i]->overflowed,
               (unsigned long long)both[i]->duplicated, (unsigned long long)both[i]->out_bytes,
               (unsigned long long)both[i]->too_long,
               both[i]->waits ? both[i]->sum_of_waits / (double)both[i]->waits / 1e6 : 0.0,
               (double)both[i]->longest_wait / 1e6);
    return 0;
}
