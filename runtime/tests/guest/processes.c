/* Processes, pipes, exec, waiting. */
#define _GNU_SOURCE
#include "tap.h"
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 2)
        return geteuid() == 0 ? 1 : prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 2 : 3;
    if (argc > 1) {
        /* The program that the first one runs. */
        char byte;
        int closed = read(atoi(argv[2]), &byte, 1) == -1 && errno == EBADF;
        return strcmp(getenv("PASSED"), "on") == 0 && closed ? 42 : 1;
    }
    int status, ends[2];
    char buffer[64];

    pid_t child = fork();
    if (child == 0)
        _exit(7);
    ok(waitpid(child, &status, 0) == child, "the parent waits for the child");
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "it gets the exit status");
    ok(waitpid(child, &status, 0) == -1 && errno == ECHILD, "a status is given once");

    volatile int shared = 1;
    child = fork();
    if (child == 0) {
        shared = 2;
        _exit(shared);
    }
    waitpid(child, &status, 0);
    ok(shared == 1 && WEXITSTATUS(status) == 2, "memory is copied");
    child = vfork();
    if (child == 0) {
        shared = 3;
        _exit(0);
    }
    waitpid(child, &status, 0);
    ok(shared == 3, "a vfork child uses the parent's memory");

    ok(pipe(ends) == 0, "a pipe");
    child = fork();
    if (child == 0) {
        close(ends[0]);
        for (int i = 0; i < 50000; i++)
            dprintf(ends[1], "%06d\n", i);
        _exit(0);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    int lines = 0, right = 1;
    while (fgets(buffer, sizeof buffer, in))
        right &= atoi(buffer) == lines++;
    fclose(in);
    waitpid(child, &status, 0);
    ok(lines == 50000 && right, "a pipe keeps the order of 50000 lines");

    int kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(buffer, sizeof buffer, "%d", kept);
    setenv("PASSED", "on", 1);
    child = fork();
    if (child == 0) {
        execl(argv[0], argv[0], "inner", buffer, NULL);
        _exit(99);
    }
    waitpid(child, &status, 0);
    ok(WEXITSTATUS(status) == 42, "a program is replaced");
    pid_t spawned;
    char *arguments[] = {argv[0], "inner", buffer, NULL};
    ok(posix_spawn(&spawned, argv[0], NULL, NULL, arguments, environ) == 0, "posix_spawn");
    waitpid(spawned, &status, 0);
    ok(WEXITSTATUS(status) == 42, "the spawned program runs");
    ok(execl("/nothing", "x", NULL) == -1 && errno == ENOENT, "a missing program");
    ok(execl("/dev", "x", NULL) == -1 && errno == EACCES, "a directory is no program");

    pipe(ends);
    struct pollfd polled = {.fd = ends[0], .events = POLLIN};
    ok(poll(&polled, 1, 10) == 0, "poll ends without an event");
    write(ends[1], "x", 1);
    ok(poll(&polled, 1, 1000) == 1 && polled.revents == POLLIN, "poll sees a byte");
    close(ends[1]);
    read(ends[0], buffer, 1);
    ok(poll(&polled, 1, 1000) == 1 && polled.revents & POLLHUP, "poll sees the end");
    ok(read(ends[0], buffer, 1) == 0, "the end of a pipe");

    child = fork();
    if (child == 0) {
        pid_t inner = fork();
        if (inner == 0) {
            usleep(20000);
            _exit(getppid() == 1 ? 0 : 1);
        }
        _exit(0);
    }
    waitpid(child, &status, 0);
    ok(wait(&status) > 0 && WEXITSTATUS(status) == 0, "orphans go to the first process");
    siginfo_t info;
    child = fork();
    if (child == 0)
        _exit(3);
    ok(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 3, "waitid");
    ok(waitpid(-1, &status, WNOHANG) == child, "a child that was only looked at");

    child = fork();
    if (child == 0) {
        pid_t inner = vfork();
        if (inner == 0)
            for (;;)
                pause();
        _exit(0);
    }
    usleep(20000);
    kill(child, SIGKILL);
    ok(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGKILL,
       "who waits for a vfork child can be killed");
    kill(-1, SIGKILL);
    waitpid(-1, &status, 0);

    /* A set-id program that is not run gives no powers: its arguments are too long. */
    static char word[100000];
    memset(word, 'w', sizeof word - 1);
    char *many[64];
    for (int i = 0; i < 63; i++)
        many[i] = word;
    many[63] = NULL;
    chmod(argv[0], 04755);
    child = fork();
    if (child == 0) {
        setuid(1000);
        execv(argv[0], many);
        _exit(errno == E2BIG && geteuid() == 1000 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    ok(WEXITSTATUS(status) == 0, "a program that cannot be run changes no user");
    for (int bound = 0; bound < 2; bound++) {
        child = fork();
        if (child == 0) {
            setuid(1000);
            if (bound)
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            execl(argv[0], argv[0], "user", NULL);
            _exit(99);
        }
        waitpid(child, &status, 0);
        ok(WEXITSTATUS(status) == (bound ? 2 : 1), bound ? "unless it gave up all others" : "one that runs does");
    }

    /* A child sends a message to its parent, which waits for it. */
    struct mq_attr size = {.mq_maxmsg = 2, .mq_msgsize = 8};
    mqd_t queue = mq_open("/queue", O_RDWR | O_CREAT | O_EXCL, 0600, &size);
    ok(queue >= 0 && mq_open("/queue", O_RDWR | O_CREAT | O_EXCL, 0600, &size) == -1 && errno == EEXIST,
       "a message queue");
    child = fork();
    if (child == 0) {
        mqd_t same = mq_open("/queue", O_WRONLY);
        usleep(20000);
        _exit(mq_send(same, "late", 5, 1) != 0);
    }
    ok(mq_receive(queue, buffer, 8, NULL) == 5 && strcmp(buffer, "late") == 0, "the first message is waited for");
    waitpid(child, &status, 0);
    mq_send(queue, "soon", 5, 7);
    mq_send(queue, "more", 5, 9);
    unsigned priority = 0;
    ok(WEXITSTATUS(status) == 0 && mq_receive(queue, buffer, 8, &priority) == 5 && priority == 9 &&
       mq_receive(queue, buffer, 8, &priority) == 5 && strcmp(buffer, "soon") == 0, "the highest priority first");
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec = (soon.tv_nsec + 10000000) % 1000000000;
    ok(mq_timedreceive(queue, buffer, 8, NULL, &soon) == -1 && errno == ETIMEDOUT, "no message in time");
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5};
    ok(mq_notify(queue, &event) == 0 && mq_send(queue, "x", 1, 0) == 0 && sigwaitinfo(&usr1, &info) == SIGUSR1 &&
       info.si_code == SI_MESGQ && info.si_value.sival_int == 5, "a signal reports a message");
    ok(mq_unlink("/queue") == 0 && mq_open("/queue", O_RDONLY) == -1 && errno == ENOENT &&
       mq_receive(queue, buffer, 8, NULL) == 1, "without its name it lives on");
    return done();
}
