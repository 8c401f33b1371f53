/* Datagrams to the host, which sends each of them back.
 *
 *   datagrams PORT
 */
#include "tap.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LONGEST 65507

static char sent[LONGEST], received[LONGEST + 1];

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 7)};
    inet_pton(AF_INET, "10.0.2.2", &host.sin_addr);
    int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connect(socket_, (void *)&host, sizeof host);
    for (int i = 0; i < LONGEST; i++)
        sent[i] = i * 7 % 251;
    static const int lengths[] = {1, 100, 1472, 1473, 2000, 5000, 16384, 16385, 40000, 60000};
    int lost = 0;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            long length = lengths[i], got = send(socket_, sent, length, 0);
            if (got == length)
                got = recv(socket_, received, sizeof received, 0);
            if (got != length || memcmp(sent, received, length) != 0) {
                printf("# %ld of %ld bytes, errno %d\n", got, length, errno);
                lost++;
            }
        }
    ok(lost == 0, "every datagram comes back");
    int discovery = IP_PMTUDISC_DO;
    setsockopt(socket_, IPPROTO_IP, IP_MTU_DISCOVER, &discovery, sizeof discovery);
    ok(send(socket_, sent, 1473, 0) == -1 && errno == EMSGSIZE, "pieces can be forbidden");
    ok(send(socket_, sent, LONGEST + 1, 0) == -1 && errno == EMSGSIZE, "there is a longest one");
    return done() + (lost > 0);
}
