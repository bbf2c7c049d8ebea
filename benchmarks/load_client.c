/* Sends one request over and over, over some connections at a time.
 *
 *     load_client PORT CONNECTIONS SECONDS REQUEST EXPECTED FIRST
 *
 * REQUEST is a file with the bytes of one HTTP request. Each answer has to be a 200 that has the
 * text EXPECTED in it; FIRST ("-" for none) is the text that ends the wait for the first token.
 * Prints one JSON object; times are microseconds from sending the request, `events` is how many
 * server-sent ones an answer came in.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 17, MOST = 4000000 };

struct connection { int fd; char *in; size_t have; long began, first; };

static struct sockaddr_in server = {.sin_family = AF_INET};
static char *request, *expected, *first_text;
static size_t request_length;
static int poller;
static double *whole, *first;
static long done, failed, firsts, pieces;
static char failure[200];

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

static void ask(struct connection *c) {
    c->have = 0, c->first = 0, c->began = now();
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) die("send");
}

static void connect_one(struct connection *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    ask(c);
}

/* Whether the answer is whole. */
static int complete(struct connection *c) {
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - c->in) + 4;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    if (field && field < end) return c->have >= head + strtoul(field + 17, NULL, 10);
    return c->have >= head + 5 && !memcmp(c->in + c->have - 5, "0\r\n\r\n", 5);
}

static void judge(struct connection *c) {
    int good = !strncmp(c->in, "HTTP/1.1 200", 12) && memmem(c->in, c->have, expected, strlen(expected));
    if (!good) {
        if (!failed++) snprintf(failure, sizeof failure, "%.*s", 199, c->in);
        return;
    }
    for (char *at = c->in; (at = strstr(at, "data: {")); at++) pieces++;
    if (done < MOST) whole[done++] = (double)(now() - c->began) / 1000;
    if (c->first && firsts < MOST) first[firsts++] = (double)(c->first - c->began) / 1000;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at(double *times, long count, double part) {
    if (!count) return 0;
    long index = (long)(part * (double)count);
    return times[index < count ? index : count - 1];
}

static void print_text(const char *text) {
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\') printf("\\%c", *text);
        else if ((unsigned char)*text < 32) putchar(' ');
        else putchar(*text);
    putchar('"');
}

int main(int count, char **arguments) {
    if (count != 7) return 2;
    server.sin_port = htons((unsigned short)atoi(arguments[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connections = atoi(arguments[2]);
    double seconds = atof(arguments[3]);
    expected = arguments[5], first_text = arguments[6];
    FILE *file = fopen(arguments[4], "rb");
    if (!file) die(arguments[4]);
    request = malloc(ROOM);
    request_length = fread(request, 1, ROOM, file);
    whole = malloc(sizeof(double) * MOST), first = malloc(sizeof(double) * MOST);
    poller = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    long start = now(), end = start + (long)(seconds * 1e9);
    for (int i = 0; i < connections; i++) all[i].in = malloc(ROOM), connect_one(&all[i]);
    int open = connections;
    struct epoll_event events[256];
    while (open) {
        int ready = epoll_wait(poller, events, 256, 60000);
        if (ready == 0) { snprintf(failure, sizeof failure, "silence for a minute"); failed++; break; }
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t n = recv(c->fd, c->in + c->have, ROOM - 1 - c->have, 0);
            if (n <= 0) {
                if (!failed++) snprintf(failure, sizeof failure, "the connection was closed");
                close(c->fd), open--;
                continue;
            }
            c->have += (size_t)n;
            c->in[c->have] = 0;
            if (!c->first && first_text[0] != '-' && memmem(c->in, c->have, first_text, strlen(first_text)))
                c->first = now();
            if (!complete(c)) continue;
            judge(c);
            if (now() < end) ask(c);
            else close(c->fd), open--;
        }
    }
    double taken = (double)(now() - start) / 1e9;
    qsort(whole, (size_t)done, sizeof *whole, by_size);
    qsort(first, (size_t)firsts, sizeof *first, by_size);
    printf("{\"done\": %ld, \"failed\": %ld, \"seconds\": %.4f, \"p50\": %.1f, \"p99\": %.1f, "
           "\"first_p50\": %.1f, \"first_p99\": %.1f, \"events\": %.1f, \"failure\": ",
           done, failed, taken, at(whole, done, .5), at(whole, done, .99), at(first, firsts, .5),
           at(first, firsts, .99), done ? (double)pieces / (double)done : 0);
    print_text(failure);
    printf("}\n");
    return 0;
}
