/* A web server for Linux: the application of the demo. It ends with status 3 after `/quit`. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};

    setvbuf(stdout, NULL, _IONBF, 0);
    if (bind(server, (void *)&any, sizeof any) || listen(server, 8)) {
        perror("cannot listen on port 8080");
        return 1;
    }
    printf("listening on port 8080\n");
    for (int number = 1;; number++) {
        char request[4096] = {0};
        int client = accept(server, NULL, NULL);

        if (read(client, request, sizeof request - 1) > 0)
            dprintf(client, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello number %d\n", number);
        printf("answered request %d\n", number);
        if (strstr(request, "GET /quit")) {
            /* The client closes once it has the whole answer. */
            shutdown(client, SHUT_WR);
            while (read(client, request, sizeof request) > 0)
                ;
            return 3;
        }
        close(client);
    }
}
