/* A model server that costs next to nothing: it answers with what it was given.
 *
 *     mock_upstream ANSWERS
 *
 * Prints its port and serves until stdin ends. ANSWERS is a file of entries:
 *
 *     METHOD PATH NEEDLE INTERVAL PIECES\n      NEEDLE: a word of the body, "-" for any body
 *     LENGTH\n<bytes>                           PIECES times
 *
 * A request gets the pieces of the first entry that fits, one write each, INTERVAL microseconds
 * apart; with INTERVAL 0 as fast as the connection takes them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 4096, ENTRIES = 64, ROOM = 1 << 17 };

struct piece { size_t length; char *bytes; };
struct entry { char method[8], path[64], needle[64]; long interval; int count; struct piece *pieces; };
struct connection { char *in; size_t have; struct entry *answer; int next; size_t sent; long due; int waits; };

static struct entry entries[ENTRIES];
static int entry_count, poller, active;
static struct connection connections[CONNECTIONS];

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void die(const char *what) { perror(what); exit(1); }

static void read_entries(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) die(name);
    struct entry *e = entries;
    while (entry_count < ENTRIES && fscanf(file, "%7s %63s %63s %ld %d", e->method, e->path,
                                           e->needle, &e->interval, &e->count) == 5) {
        fgetc(file);
        e->pieces = calloc((size_t)e->count, sizeof *e->pieces);
        for (int i = 0; i < e->count; i++) {
            struct piece *p = &e->pieces[i];
            if (fscanf(file, "%zu", &p->length) != 1) die("length");
            fgetc(file);
            p->bytes = malloc(p->length + 1);
            if (fread(p->bytes, 1, p->length, file) != p->length) die("piece");
        }
        e++, entry_count++;
    }
    fclose(file);
}

static void watch(int fd, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poller, operation, fd, &event);
}

static void drop(int fd) {
    struct connection *c = &connections[fd];
    if (c->answer) active--;
    free(c->in);
    memset(c, 0, sizeof *c);
    close(fd);
}

/* Write what is due of an answer; 0 when the connection is lost. */
static int go_on(int fd) {
    struct connection *c = &connections[fd];
    while (c->answer && (!c->answer->interval || now() >= c->due)) {
        struct piece *p = &c->answer->pieces[c->next];
        ssize_t n = send(fd, p->bytes + c->sent, p->length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!c->waits) watch(fd, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT), c->waits = 1;
            return 1;
        }
        if (n < 0) return 0;
        c->sent += (size_t)n;
        if (c->sent < p->length) continue;
        c->sent = 0;
        c->due += c->answer->interval;
        if (++c->next == c->answer->count) c->answer = NULL, active--;
    }
    if (c->waits) watch(fd, EPOLL_CTL_MOD, EPOLLIN), c->waits = 0;
    return 1;
}

static struct entry *find(const char *head, const char *body, size_t length) {
    char method[8] = "", path[64] = "";
    sscanf(head, "%7s %63[^ ?]", method, path);
    for (struct entry *e = entries; e < entries + entry_count; e++)
        if (!strcmp(e->method, method) && !strcmp(e->path, path) &&
            (!strcmp(e->needle, "-") || memmem(body, length, e->needle, strlen(e->needle))))
            return e;
    fprintf(stderr, "no answer to %s %s\n", method, path);
    return NULL;
}

/* Take what came in; 0 when the connection is lost. */
static int take(int fd) {
    struct connection *c = &connections[fd];
    if (c->have + 1 >= ROOM) return 0;
    ssize_t n = recv(fd, c->in + c->have, ROOM - 1 - c->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 1;
    if (n <= 0) return 0;
    c->have += (size_t)n;
    c->in[c->have] = 0;
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end || c->answer) return 1;
    char *body = end + 4, *field = strcasestr(c->in, "\r\ncontent-length:");
    size_t length = field && field < end ? strtoul(field + 17, NULL, 10) : 0;
    if (c->have < (size_t)(body - c->in) + length) return 1;
    c->answer = find(c->in, body, length);
    if (!c->answer) return 0;
    size_t used = (size_t)(body - c->in) + length;
    memmove(c->in, c->in + used, c->have - used);
    c->have -= used;
    c->next = 0, c->sent = 0, c->due = now();
    active++;
    return go_on(fd);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    read_entries(arguments[1]);
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    watch(0, EPOLL_CTL_ADD, EPOLLIN);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poller, events, 256, active ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd == listener) {
                int new = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (new < 0 || new >= CONNECTIONS) { if (new >= 0) close(new); continue; }
                setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                connections[new].in = malloc(ROOM);
                watch(new, EPOLL_CTL_ADD, EPOLLIN);
                continue;
            }
            if ((events[i].events & EPOLLOUT && !go_on(fd)) ||
                (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !take(fd)))
                drop(fd);
        }
        if (active)
            for (int fd = 0; fd < CONNECTIONS; fd++)
                if (connections[fd].answer && connections[fd].answer->interval && !go_on(fd)) drop(fd);
    }
}
