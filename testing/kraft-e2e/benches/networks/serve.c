// Answers `GET /N` on port 8080 with N bytes, on up to 64 connections that stay open.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 64, BLOCK = 65536 };
static struct pollfd files[MOST + 1];
static char requests[MOST + 1][256];
static int lengths[MOST + 1];
static long left[MOST + 1];
static char block[BLOCK];

static void forget(int at) {
    close(files[at].fd);
    files[at].fd = -1;
}

// Sends what is left, as much as there is room for.
static void send_more(int at) {
    while (left[at] > 0) {
        long size = left[at] < BLOCK ? left[at] : BLOCK;
        long sent = send(files[at].fd, block, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) break;
        left[at] -= sent;
    }
    files[at].events = left[at] > 0 ? POLLOUT : POLLIN;
}

static void receive(int at) {
    char *text = requests[at];
    int room = sizeof requests[at] - 1 - lengths[at];
    int got = recv(files[at].fd, text + lengths[at], room, 0);
    if (got <= 0) return forget(at);
    lengths[at] += got;
    text[lengths[at]] = 0;
    if (!strstr(text, "\r\n\r\n")) return;
    long size = atol(text + 5);
    lengths[at] = 0;
    // The head and a short body go together.
    static char answer[4096];
    int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", size);
    long together = size < 2048 ? size : 0;
    memset(answer + head, 'x', together);
    send(files[at].fd, answer, head + together, MSG_NOSIGNAL);
    left[at] = size - together;
    send_more(at);
}

int main() {
    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, MOST)) return 1;
    memset(block, 'x', sizeof block);
    for (int at = 1; at <= MOST; at++) files[at].fd = -1;
    files[0] = (struct pollfd){server, POLLIN};
    for (;;) {
        poll(files, MOST + 1, -1);
        for (int at = 1; at <= MOST; at++) {
            if (files[at].fd < 0 || !files[at].revents) continue;
            if (files[at].events == POLLOUT) send_more(at);
            else receive(at);
        }
        if (!files[0].revents) continue;
        int client = accept(server, 0, 0), at = 1;
        while (at <= MOST && files[at].fd >= 0) at++;
        if (client < 0) continue;
        if (at > MOST) {
            close(client);
            continue;
        }
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        files[at] = (struct pollfd){client, POLLIN};
        lengths[at] = left[at] = 0;
    }
}
