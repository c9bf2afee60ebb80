/* An open-loop HTTP/1.1 client that shares nothing with the harness's: it sends one recorded request at given times over
   keep-alive connections, and prints for each the seconds from when it was due to the last byte of its answer. It never
   looks at what it sends.

   openloop HOST PORT CONNECTIONS REQUEST < seconds since the start, ascending, one a line > seconds, in that order */

#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_ANSWER = 1 << 20 };

static const double LEAD_S = 0.3; /* for all connections to be there before the first request is due */

static struct addrinfo *server;
static char *request;
static size_t request_bytes;
static double *due, *took, start;
static long count;
static atomic_long turn;

static void fail(const char *what) {
    fprintf(stderr, "openloop: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_until(double moment) {
    struct timespec time = {.tv_sec = (time_t)moment, .tv_nsec = (long)((moment - (time_t)moment) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {}
}

static int join_server(void) {
    int here = socket(server->ai_family, SOCK_STREAM, 0), on = 1;
    if (here < 0 || connect(here, server->ai_addr, server->ai_addrlen) < 0) fail("connect");
    setsockopt(here, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return here;
}

/* Return the bytes of a whole answer, header and body; 0 while its header has not ended. */
static size_t length_of(char *answer) {
    char *body = strstr(answer, "\r\n\r\n");
    if (!body) return 0;
    if (strncmp(answer, "HTTP/1.1 200", 12)) fail("an answer that is not 200");
    char *length = strcasestr(answer, "\r\nContent-Length:");
    if (!length || length > body) fail("an answer without its length");
    return (size_t)(body + 4 - answer) + strtoul(length + 17, NULL, 10);
}

static void exchange(int there, char *answer) {
    for (size_t sent = 0; sent < request_bytes;) {
        ssize_t more = send(there, request + sent, request_bytes - sent, MSG_NOSIGNAL);
        if (more <= 0) fail("send");
        sent += (size_t)more;
    }
    for (size_t had = 0, wanted = 0; !wanted || had < wanted;) {
        ssize_t more = recv(there, answer + had, LONGEST_ANSWER - had, 0);
        if (more <= 0) fail("receive");
        had += (size_t)more;
        answer[had] = 0;
        if (!wanted) wanted = length_of(answer);
    }
}

static void *work(void *unused) {
    int there = join_server();
    char *answer = malloc(LONGEST_ANSWER + 1);
    if (!answer) fail("memory");
    for (long mine; (mine = atomic_fetch_add(&turn, 1)) < count;) {
        sleep_until(start + due[mine]);
        exchange(there, answer);
        took[mine] = now() - start - due[mine];
    }
    free(answer);
    close(there);
    return unused;
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    request_bytes = (size_t)ftell(file);
    rewind(file);
    request = malloc(request_bytes);
    if (!request || fread(request, 1, request_bytes, file) != request_bytes) fail(path);
    fclose(file);
}

static void read_schedule(void) {
    long room = 0;
    for (double moment; scanf("%lf", &moment) == 1;) {
        if (count == room) due = realloc(due, sizeof *due * (size_t)(room = room ? 2 * room : 1024));
        if (!due) fail("memory");
        due[count++] = moment;
    }
    took = calloc((size_t)count + 1, sizeof *took);
    if (!took) fail("memory");
}

int main(int words, char **word) {
    if (words != 5) fail("HOST PORT CONNECTIONS REQUEST");
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(word[1], word[2], &wanted, &server)) fail("no such address");
    int threads = atoi(word[3]);
    read_request(word[4]);
    read_schedule();
    start = now() + LEAD_S;
    pthread_t *thread = calloc((size_t)threads, sizeof *thread);
    for (int each = 0; each < threads; each++)
        if (pthread_create(&thread[each], NULL, work, NULL)) fail("thread");
    for (int each = 0; each < threads; each++) pthread_join(thread[each], NULL);
    for (long each = 0; each < count; each++) printf("%.9f\n", took[each]);
    return 0;
}
