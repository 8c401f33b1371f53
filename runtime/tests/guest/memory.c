/* Mappings, brk, futexes by threads. */
#define _GNU_SOURCE
#include "tap.h"
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long total;
static int turn;
static __thread int own = 5;

static void *add(void *argument) {
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&lock);
        total++;
        pthread_mutex_unlock(&lock);
    }
    own = *(int *)argument;
    return (void *)(long)own;
}

static void *alternate(void *argument) {
    long me = (long)argument;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&changed, &lock);
        turn = !turn;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    int status;
    char *m = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ok(m != MAP_FAILED && m[5 * PAGE] == 0, "memory of zeros");
    memset(m, 'a', 8 * PAGE);
    ok(munmap(m + 2 * PAGE, PAGE) == 0, "a hole");
    unsigned char present[8];
    ok(mincore(m, 8 * PAGE, present) == -1 && errno == ENOMEM, "mincore sees the hole");
    ok(mprotect(m + 3 * PAGE, PAGE, PROT_READ) == 0 && m[3 * PAGE] == 'a', "read-only memory");
    ok(write(1, m + 2 * PAGE, 1) == -1 && errno == EFAULT, "the kernel does not read a hole");
    int ends[2];
    pipe(ends);
    write(ends[1], "x", 1);
    ok(read(ends[0], m + 3 * PAGE, 1) == -1 && errno == EFAULT, "nor writes read-only memory");
    char *moved = mremap(m + 4 * PAGE, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    ok(moved != MAP_FAILED && moved[3 * PAGE] == 'a' && moved[10 * PAGE] == 0, "mremap");
    ok(madvise(moved, PAGE, MADV_DONTNEED) == 0 && moved[0] == 0, "madvise forgets");
    ok(mmap(m, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
               MAP_FAILED && errno == EEXIST, "a place that is taken");

    int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        *shared = 77;
        m[0] = 'c';
        _exit(0);
    }
    waitpid(child, &status, 0);
    ok(*shared == 77 && m[0] == 'a', "shared and private memory after a fork");

    int file = open("/tmp/mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    ftruncate(file, PAGE + 100);
    pwrite(file, "content", 7, PAGE);
    char *f = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ok(f != MAP_FAILED && memcmp(f + PAGE, "content", 7) == 0, "a file is mapped");
    f[0] = 'F';
    char byte;
    ok(pread(file, &byte, 1, 0) == 1 && byte == 'F', "what is written there is in the file");
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    p[0] = 'P';
    ok(f[0] == 'F', "a private mapping keeps it");
    ok(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0) == MAP_FAILED && errno == ENODEV,
       "a pipe is not mapped");
    ok(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED && errno == EBADF,
       "no file, no mapping");
    char *start = sbrk(0);
    ok(sbrk(3 * PAGE) == start && start[2 * PAGE] == 0, "sbrk");
    ok(brk(start) == 0 && sbrk(0) == start, "brk goes back");

    pthread_t threads[4];
    int values[4];
    long sum = 0;
    for (int i = 0; i < 4; i++) {
        values[i] = i + 1;
        pthread_create(&threads[i], NULL, add, &values[i]);
    }
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    ok(total == 80000, "a mutex guards a sum");
    ok(sum == 10 && own == 5, "threads have values of their own");
    pthread_create(&threads[0], NULL, alternate, (void *)0);
    pthread_create(&threads[1], NULL, alternate, (void *)1);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    ok(turn == 0, "two threads take turns");
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) {
        soon.tv_nsec -= 1000000000;
        soon.tv_sec++;
    }
    pthread_mutex_lock(&lock);
    ok(pthread_cond_timedwait(&changed, &lock, &soon) == ETIMEDOUT, "a wait ends in time");

    int sealed = memfd_create("sealed", MFD_ALLOW_SEALING), plain = memfd_create("plain", 0);
    ftruncate(sealed, 8192);
    ok(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW) == -1 && errno == EPERM, "a file without seals");
    char *shown = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, sealed, 0);
    ok(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EBUSY, "it is mapped to be written");
    munmap(shown, 4096);
    ok(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0 &&
               fcntl(sealed, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK), "seals are added");
    ok(ftruncate(sealed, 4096) == -1 && errno == EPERM && ftruncate(sealed, 9000) == -1, "its length stays");
    ok(pwrite(sealed, "xy", 2, 8191) == -1 && errno == EPERM && pwrite(sealed, "x", 1, 8191) == 1,
       "writing does not make it longer");
    ok(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0 && pwrite(sealed, "x", 1, 0) == -1 &&
               errno == EPERM, "it is not written");
    ok(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, sealed, 0) == MAP_FAILED && errno == EPERM, "nor mapped for that");
    shown = mmap(NULL, 4096, PROT_READ, MAP_SHARED, sealed, 0);
    ok(shown != MAP_FAILED && mprotect(shown, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES,
       "a mapping stays for reading");
    ok(fcntl(sealed, F_ADD_SEALS, F_SEAL_EXEC) == -1 && errno == EPERM, "no more seals");

    /* Nothing is there, which must not be found page by page. */
    void *far = (void *)0x1c67a93806bd000;
    ok(syscall(SYS_mlock2, far, 1UL << 50, 1) == -1 && errno == ENOMEM, "far memory is not locked");
    ok(mincore(far, 1UL << 50, present) == -1 && errno == ENOMEM, "nor looked at");
    return done();
}
