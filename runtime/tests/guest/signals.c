/* Signals. */
#define _GNU_SOURCE
#include "tap.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t count, last, value;
static sigjmp_buf back;
static void *volatile fault_address;

static void note(int signal) {
    count++;
    last = signal;
}

static void with_value(int signal, siginfo_t *info, void *context) {
    (void)context;
    last = signal;
    value = info->si_value.sival_int;
    count++;
}

static void fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    fault_address = info->si_addr;
    last = signal;
    siglongjmp(back, 1);
}

static volatile int on_stack;
static char stack[65536];

static void where(int signal) {
    (void)signal;
    char here;
    on_stack = &here >= stack && &here < stack + sizeof stack;
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signal, &action, NULL);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    sigset_t set, old;
    int ends[2], status;
    char byte;

    handle(SIGUSR1, note, 0);
    raise(SIGUSR1);
    ok(count == 1 && last == SIGUSR1, "a handler runs");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    ok(count == 1, "a blocked signal waits");
    sigpending(&set);
    ok(sigismember(&set, SIGUSR1), "it is pending");
    sigprocmask(SIG_SETMASK, &old, NULL);
    ok(count == 2, "it comes once");

    struct sigaction action = {.sa_sigaction = with_value, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    count = 0;
    for (int i = 1; i <= 3; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    siginfo_t info;
    struct timespec none = {0, 0};
    ok(sigtimedwait(&set, &info, &none) == SIGRTMIN && info.si_value.sival_int == 1,
       "sigtimedwait takes the first");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    ok(count == 2 && value == 3, "real-time signals queue with their values");

    pipe(ends);
    handle(SIGALRM, note, 0);
    /* The first signal may come before the read. */
    struct itimerval timer = {.it_value = {0, 20000}, .it_interval = {0, 20000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    ok(read(ends[0], &byte, 1) == -1 && errno == EINTR, "a handler interrupts a read");
    timer.it_interval = (struct timeval){0, 0};
    handle(SIGALRM, note, SA_RESTART);
    pid_t child = fork();
    if (child == 0) {
        usleep(60000);
        write(ends[1], "r", 1);
        _exit(0);
    }
    setitimer(ITIMER_REAL, &timer, NULL);
    ok(read(ends[0], &byte, 1) == 1 && byte == 'r', "SA_RESTART goes on with the read");
    waitpid(child, &status, 0);
    count = 0;
    timer = (struct itimerval){.it_value = {0, 5000}, .it_interval = {0, 5000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (volatile long i = 0; count < 3 && i < 2000000000; i++)
        ;
    timer = (struct itimerval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    ok(count >= 3, "a timer interrupts a loop again and again");

    action = (struct sigaction){.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    if (!sigsetjmp(back, 1))
        *(volatile int *)64 = 1;
    ok(last == SIGSEGV && fault_address == (void *)64, "a fault tells its address");
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    last = 0;
    if (!sigsetjmp(back, 1))
        page[5] = 1;
    ok(last == SIGSEGV && fault_address == page + 5, "a write to memory that is only read");

    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    handle(SIGUSR2, where, SA_ONSTACK);
    raise(SIGUSR2);
    ok(on_stack, "a handler on its own stack");
    raise(SIGUSR2);
    stack_t now;
    sigaltstack(NULL, &now);
    ok(now.ss_flags == 0 && now.ss_sp == stack, "the stack is free again");

    child = fork();
    if (child == 0) {
        for (;;)
            pause();
    }
    kill(child, SIGSTOP);
    ok(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status), "a child stops");
    kill(child, SIGCONT);
    ok(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status), "it goes on");
    kill(child, SIGTERM);
    ok(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM, "it is ended");
    handle(SIGPIPE, note, 0);
    close(ends[0]);
    last = 0;
    ok(write(ends[1], "x", 1) == -1 && errno == EPIPE && last == SIGPIPE, "a broken pipe");
    ok(kill(99999, 0) == -1 && errno == ESRCH, "nobody with a number");
    ok(kill(getpid(), 65) == -1 && errno == EINVAL, "no such signal");
    handle(SIGUSR1, SIG_IGN, 0);
    ok(kill(getpid(), SIGUSR1) == 0, "an ignored signal");
    return done();
}
