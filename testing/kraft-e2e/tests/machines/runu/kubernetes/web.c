// An HTTP server on port 8080 for Pods. Its answers show what a guest can do:
//
//   /              the greeting of its argument, and the name of the host
//   /file/PATH     a file
//   /env/NAME      a variable of the environment
//   /fetch/ADDRESS/PORT/PATH
//                  what another server answers
//   /exit /crash /hang /eat
//                  the end by itself, by an invalid access, never, and by all memory
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void file(int client, const char *path) {
    char text[4096];
    FILE *file = fopen(path, "r");
    size_t got;
    if (!file) dprintf(client, "no file %s\n", path);
    while (file && (got = fread(text, 1, sizeof text, file)) > 0) write(client, text, got);
    if (file) fclose(file);
}

static void fetch(int client, char *address) {
    char *port = strchr(address, '/'), *path = port ? strchr(port + 1, '/') : 0, text[4096];
    if (!path) return;
    *port++ = *path++ = 0;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(address, port, &hints, &found)) {
        dprintf(client, "%s is unknown\n", address);
        return;
    }
    int server = socket(AF_INET, SOCK_STREAM, 0), all = 0, got;
    if (connect(server, found->ai_addr, found->ai_addrlen)) {
        dprintf(client, "%s refuses\n", address);
    } else {
        dprintf(server, "GET /%s HTTP/1.0\r\n\r\n", path);
        while ((got = read(server, text + all, sizeof text - 1 - all)) > 0) all += got;
        text[all] = 0;
        char *body = strstr(text, "\r\n\r\n");
        dprintf(client, "%s", body ? body + 4 : "no answer\n");
    }
    close(server);
    freeaddrinfo(found);
}

static void eat(void) {
    for (;;) {
        char *piece = malloc(1 << 20);
        if (!piece) abort();
        memset(piece, 1, 1 << 20);
    }
}

static void end(int signal) { _exit(0); }

int main(int count, char **words) {
    // As the first process, it would ignore the signal otherwise.
    signal(SIGTERM, end);
    setvbuf(stdout, 0, _IOLBF, 0);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (count < 2 || bind(server, (void *)&any, sizeof any) || listen(server, 64)) return 1;
    printf("serving as %s\n", words[1]);
    for (;;) {
        char request[4096], name[256] = "";
        int client = accept(server, 0, 0);
        ssize_t got = read(client, request, sizeof request - 1);
        request[got < 0 ? 0 : got] = 0;
        char *path = strchr(request, '/'), *end = path ? strchr(path, ' ') : 0;
        if (end) {
            *end = 0;
            dprintf(client, "HTTP/1.0 200 OK\r\n\r\n");
            if (!strncmp(path, "/file/", 6)) file(client, path + 5);
            else if (!strncmp(path, "/env/", 5)) dprintf(client, "%s\n", getenv(path + 5) ?: "");
            else if (!strncmp(path, "/fetch/", 7)) fetch(client, path + 7);
            else if (!strcmp(path, "/exit")) return 3;
            else if (!strcmp(path, "/crash")) *(volatile int *)0 = 1;
            else if (!strcmp(path, "/hang")) for (signal(SIGTERM, SIG_IGN);;);
            else if (!strcmp(path, "/eat")) eat();
            else {
                gethostname(name, sizeof name);
                dprintf(client, "%s on %s\n", words[1], name);
            }
        }
        close(client);
    }
}
