/* A program that reads what is not there, in a function with a name. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) int fall(volatile int *at) { return *at + 1; }

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    pid_t child = fork();
    if (child == 0)
        return fall((int *)24);
    int status;
    waitpid(child, &status, 0);
    return WTERMSIG(status);
}
