/* Children that take all they can get of one thing: the kernel must survive, and have it back
 * afterwards. */
#define _GNU_SOURCE
#include "tap.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MANY 300000

static void areas(void) {
    for (int i = 0; i < MANY; i++)
        if (mmap(NULL, PAGE, i & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            break;
}

static void memory(void) {
    for (;;) {
        char *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            break;
        memset(at, 1, 1 << 20);
    }
}

static void descriptors(void) {
    struct rlimit most = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_NOFILE, &most);
    for (int i = 0; i < 32; i++) {
        if (dup2(0, (1 << 20) - 1) < 0)
            break;
        if (fork() < 0)
            break;
    }
}

static void files(void) {
    struct rlimit most = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_NOFILE, &most);
    while (eventfd(0, 0) >= 0)
        ;
}

static void pipes(void) {
    struct rlimit most = {1 << 20, 1 << 20};
    static char bytes[65536];
    int ends[2];
    setrlimit(RLIMIT_NOFILE, &most);
    while (pipe2(ends, O_NONBLOCK) == 0)
        if (write(ends[1], bytes, sizeof bytes) < 0)
            break;
}

static void sockets(void) {
    struct rlimit most = {1 << 20, 1 << 20};
    static char bytes[65536];
    int ends[2];
    setrlimit(RLIMIT_NOFILE, &most);
    while (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) == 0)
        while (write(ends[1], bytes, sizeof bytes) > 0)
            ;
}

static void names(void) {
    char name[300];
    memset(name, 'n', sizeof name);
    for (int i = 0; i < MANY; i++) {
        snprintf(name + 200, 20, "%d", i);
        if (mknod(name, S_IFREG | 0600, 0) < 0)
            break;
    }
}

static void *sleeps(void *nothing) {
    pause();
    return nothing;
}

static void threads(void) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    while (pthread_create(&thread, &attr, sleeps, NULL) == 0)
        ;
}

static void processes(void) {
    for (int i = 0; i < 5000; i++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
}

static void signals(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; i < MANY; i++)
        if (sigqueue(getpid(), SIGRTMIN + i % 8, (union sigval){0}) < 0)
            break;
}

static void timers(void) {
    timer_t timer;
    for (int i = 0; i < MANY; i++)
        if (timer_create(CLOCK_MONOTONIC, NULL, &timer) < 0)
            break;
}

static void watches(void) {
    char name[32];
    int fd = inotify_init1(IN_NONBLOCK);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%d", i);
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        if (file < 0 || inotify_add_watch(fd, name, IN_ALL_EVENTS) < 0)
            break;
        (void)!write(file, name, 1);
        close(file);
    }
}

static void locks(void) {
    int fd = open("locked", O_CREAT | O_RDWR, 0600);
    for (int i = 0; i < MANY; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = 2 * i, .l_len = 1};
        if (fcntl(fd, F_SETLK, &lock) < 0)
            break;
    }
}

static void strings(void) {
    /* Arguments stay in the kernel for /proc. */
    static char *words[10000];
    char word[128];
    memset(word, 'w', sizeof word - 1);
    word[127] = 0;
    words[0] = "/bin/exhaust";
    words[1] = "wait";
    for (int i = 2; i < 9999; i++)
        words[i] = word;
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            execv(words[0], words);
            _exit(1);
        }
    }
}

static void data(void) {
    static char bytes[1 << 16];
    int fd = open("large", O_CREAT | O_RDWR, 0600);
    memset(bytes, 1, sizeof bytes);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
}

/* Removes what is in a directory. */
static void empty(const char *path) {
    struct dirent *entry;
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
}

static const struct {
    const char *name;
    void (*take)(void);
} things[] = {
    {"areas", areas}, {"memory", memory}, {"descriptors", descriptors}, {"files", files},
    {"pipes", pipes}, {"sockets", sockets}, {"names", names}, {"threads", threads},
    {"processes", processes}, {"signals", signals}, {"timers", timers}, {"watches", watches},
    {"locks", locks}, {"data", data}, {"strings", strings},
};

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    mkdir("/tmp/e", 0777);
    for (unsigned i = 0; i < sizeof things / sizeof *things; i++) {
        /* The kernel keeps the memory of names for others: nothing is left for programs then. */
        if (strcmp(argc == 2 ? argv[1] : things[i].name, things[i].name) ||
            (argc == 1 && things[i].take == names))
            continue;
        (void)!chdir("/tmp/e");
        pid_t pid = fork();
        if (pid == 0) {
            things[i].take();
            _exit(0);
        }
        int status;
        for (int tenths = 0; tenths < 50 && waitpid(pid, &status, WNOHANG) == 0; tenths++)
            usleep(100000);
        kill(-1, SIGKILL);
        while (waitpid(-1, &status, 0) > 0)
            ;
        (void)!chdir("/");
        empty("/tmp/e");
        /* There is memory again. */
        char *at = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int usable = at != MAP_FAILED;
        if (usable) {
            memset(at, 1, 8 << 20);
            munmap(at, 8 << 20);
        }
        ok(usable, things[i].name);
    }
    return done();
}
