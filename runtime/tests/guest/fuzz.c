/* Random system calls by child processes, for so many seconds: the kernel must survive.
 *
 *   fuzz SECONDS SEED
 */
#define _GNU_SOURCE
#include "tap.h"
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 32

static uint64_t state;
static char *memory;
static int may_fork, left;

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t end) { return next() % end; }

static const char *const paths[] = {
    "a", "b", "c", "d", "d/e", "l", ".", "..", "/", "", "/dev/null", "/dev/zero", "/dev/full",
    "/dev/ptmx", "/dev/pts/0", "/dev/urandom", "/proc/self/maps", "/proc/self/fd/3", "/proc/self",
    "/proc/1/stat", "/proc/meminfo", "/proc/self/mem", "/sys", "/proc/version",
};
#define PATHS (sizeof paths / sizeof *paths)

static const uint64_t numbers[] = {
    0, 1, 2, 3, 7, 8, 16, 64, 4095, 4096, 4097, 65535, 0x7fffffff, 0x80000000, 0xffffffff,
    1ull << 40, 0x7ffffffff000, 0x800000000000, INT64_MAX, 1ull << 63, -4096ull, -1ull, -2ull, -100ull,
};

static uint64_t argument(void) {
    switch (below(12)) {
    case 0: case 1: return below(16);
    case 2: return next();
    case 3: return 1ull << below(64);
    case 4: case 5: return numbers[below(sizeof numbers / sizeof *numbers)];
    case 6: case 7: return (uint64_t)memory + 64 * below(PATHS);
    case 8: return (uint64_t)memory + PAGE + 8 * below(512);
    case 9: return (uint64_t)memory + PAGE * PAGES - below(64);
    case 10: return (uint64_t)memory + PAGE * below(PAGES + 1);
    default: return below(1 << 20);
    }
}

static void fill(void) {
    for (unsigned i = 0; i < PATHS; i++)
        strcpy(memory + 64 * i, paths[i]);
    for (int i = 0; i < 1024; i++)
        ((uint64_t *)(memory + PAGE))[i] = argument();
}

static int is_left_out(long call, const uint64_t *a) {
    int target = (int)a[0];
    switch (call) {
    case SYS_exit: case SYS_exit_group: case SYS_reboot: case SYS_rt_sigreturn:
        return 1;
    /* Process 1 counts the time. */
    case SYS_tgkill: case SYS_rt_tgsigqueueinfo:
        return target <= 1 || (int)a[1] <= 1;
    case SYS_kill: case SYS_tkill: case SYS_rt_sigqueueinfo: case SYS_prlimit64:
    case SYS_setpgid: case SYS_pidfd_open:
        return target <= 1;
    case SYS_clone: case SYS_clone3:
        return !may_fork;
#ifdef SYS_fork
    case SYS_pause:
        return 1;
    case SYS_fork: case SYS_vfork:
        return !may_fork;
#endif
    default:
        return 0;
    }
}

static void interrupted(int signal) { (void)signal; }

static void child(void) {
    /* Nothing goes to the console; descriptors 0 to 9 are of different kinds. */
    int ends[2];
    setsid();
    for (int fd = 0; fd < 10; fd++)
        close(fd);
    open("a", O_RDWR | O_CREAT, 0666);
    open(".", O_RDONLY);
    open("/dev/null", O_RDWR);
    pipe2(ends, O_NONBLOCK);
    open("/dev/ptmx", O_RDWR | O_NONBLOCK);
    syscall(SYS_memfd_create, "m", 0);
    if (below(2))
        (void)!setuid(1000);
    /* What waits is interrupted every few milliseconds. */
    struct sigaction action = {.sa_handler = interrupted};
    sigaction(SIGALRM, &action, NULL);
    fill();
    may_fork = 1;
    for (left = 300; left > 0; left--) {
        uint64_t a[6];
        long call = below(8) == 0 ? 420 + (long)below(45) : (long)below(335);
        for (int i = 0; i < 6; i++)
            a[i] = argument();
        if (below(2))
            a[0] = below(10);
        if (is_left_out(call, a))
            continue;
        struct { uint64_t words[4]; } timer = {{0, 3000, 0, 3000}};
        syscall(SYS_setitimer, 0, &timer, NULL);
        pid_t me = (pid_t)syscall(SYS_getpid);
        syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
        if ((pid_t)syscall(SYS_getpid) != me) {
            may_fork = 0;
            left = left < 20 ? left : 20;
        }
        if (below(40) == 0)
            fill();
    }
    _exit(0);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    double end = now() + (argc > 1 ? atof(argv[1]) : 5);
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    int rounds = 0;
    mkdir("/tmp", 0777);
    mkdir("/tmp/fuzz", 0777);
    memory = mmap(NULL, PAGE * PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (now() < end) {
        (void)!chdir("/tmp/fuzz");
        state = seed + rounds++;
        pid_t pid = fork();
        if (pid == 0)
            child();
        double limit = now() + 2;
        while (pid > 0 && now() < limit && waitpid(pid, NULL, WNOHANG) == 0)
            usleep(500);
        kill(-1, SIGKILL);
        while (waitpid(-1, NULL, __WALL) > 0)
            ;
        for (unsigned i = 0; i < 6; i++) {
            unlink(paths[5 - i]);
            rmdir(paths[5 - i]);
        }
    }
    printf("# %d processes\n", rounds);
    ok(rounds > 0, "the kernel survives");
    return done();
}
