// Measures a server: `ask HOST PORT SECONDS BYTES` prints
// `latency_us=M p90_us=P connect_us=C requests_per_second=R megabytes_per_second=B`.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 100000, TOGETHER = 4 };
static double times[MOST];
static struct addrinfo *found;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int dial(void) {
    int on = 1, file = socket(AF_INET, SOCK_STREAM, 0);
    if (file < 0 || connect(file, found->ai_addr, found->ai_addrlen)) fail("connect");
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return file;
}

static void request(int file, long size) {
    char text[64];
    int length = sprintf(text, "GET /%ld HTTP/1.1\r\n\r\n", size);
    if (write(file, text, length) != length) fail("write");
}

static void answer(int file) {
    static char text[65536];
    long got = 0, size = -1, all = 0;
    while (size < 0 || all < size) {
        long more = read(file, text + (size < 0 ? got : 0), sizeof text - 1 - (size < 0 ? got : 0));
        if (more <= 0) fail("read");
        if (size >= 0) {
            all += more;
            continue;
        }
        got += more;
        text[got] = 0;
        char *body = strstr(text, "\r\n\r\n");
        if (!body) continue;
        size = atol(strstr(text, "Length: ") + 8);
        all = got - (body + 4 - text);
    }
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int count, char **words) {
    if (count < 5) return 2;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(words[1], words[2], &hints, &found)) fail(words[1]);
    double share = atof(words[3]) / 4, start, end;
    long size = atol(words[4]), number;
    int files[TOGETHER];

    for (int at = 0; at < TOGETHER; at++) {
        files[at] = dial();
        // The first one finds the neighbour.
        request(files[at], 64);
        answer(files[at]);
    }
    end = now() + share;
    for (number = 0; number < MOST && now() < end; number++) {
        start = now();
        request(files[0], 64);
        answer(files[0]);
        times[number] = now() - start;
    }
    qsort(times, number, sizeof *times, compare);
    printf("latency_us=%.0f p90_us=%.0f", times[number / 2] * 1e6, times[number * 9 / 10] * 1e6);

    end = now() + share;
    for (number = 0; number < MOST && now() < end; number++) {
        start = now();
        int file = dial();
        request(file, 64);
        answer(file);
        close(file);
        times[number] = now() - start;
    }
    qsort(times, number, sizeof *times, compare);
    printf(" connect_us=%.0f", times[number / 2] * 1e6);

    start = now();
    end = start + share;
    for (number = 0; now() < end; number += TOGETHER) {
        for (int at = 0; at < TOGETHER; at++) request(files[at], 64);
        for (int at = 0; at < TOGETHER; at++) answer(files[at]);
    }
    printf(" requests_per_second=%.0f", number / (now() - start));

    start = now();
    end = start + share;
    for (number = 0; number == 0 || now() < end; number++) {
        request(files[0], size);
        answer(files[0]);
    }
    printf(" megabytes_per_second=%.1f\n", number * size / 1e6 / (now() - start));
    return 0;
}
