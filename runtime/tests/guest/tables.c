/* What /proc/net shows of sockets. */
#define _GNU_SOURCE
#include "tap.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Counts the lines of a file with a text. */
static int lines(const char *path, const char *text) {
    char line[512];
    int count = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        count += strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return count;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 here6 = {.sin6_family = AF_INET6, .sin6_port = htons(81), .sin6_addr = in6addr_loopback};
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/tmp/socket"};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ok(bind(listener, (void *)&here, sizeof here) == 0 && listen(listener, 1) == 0, "a listener");
    ok(lines("/proc/net/tcp", ": 0100007F:0050 00000000:0000 0A ") == 1, "it is in the table");
    int client = socket(AF_INET, SOCK_STREAM, 0);
    ok(connect(client, (void *)&here, sizeof here) == 0, "a connection");
    int server = accept(listener, NULL, NULL);
    ok(lines("/proc/net/tcp", " 0100007F:0050 01 ") == 1, "its one end");
    ok(lines("/proc/net/tcp", ": 0100007F:0050 0100007F:") == 1, "its other end");
    struct stat status;
    char number[64];
    fstat(listener, &status);
    sprintf(number, " 0 %lu 1 ", (unsigned long)status.st_ino);
    ok(lines("/proc/net/tcp", number) == 1, "rows have the number of the file");
    close(server);
    close(client);
    ok(lines("/proc/net/tcp", " 01 ") == 0, "what is closed is gone");
    int listener6 = socket(AF_INET6, SOCK_STREAM, 0);
    ok(bind(listener6, (void *)&here6, sizeof here6) == 0 && listen(listener6, 1) == 0, "IPv6");
    ok(lines("/proc/net/tcp6", ": 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A ") == 1,
       "it is in its own table");
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    ok(bind(datagrams, (void *)&here, sizeof here) == 0, "a datagram socket");
    ok(lines("/proc/net/udp", ": 0100007F:0050 00000000:0000 07 ") == 1, "it is in the table");
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    ok(bind(local, (void *)&path, sizeof path) == 0 && listen(local, 1) == 0, "a Unix socket");
    ok(lines("/proc/net/unix", " 00010000 0001 01 ") == 1, "it listens");
    ok(lines("/proc/net/unix", " /tmp/socket\n") == 1, "it has a path");
    return done();
}
