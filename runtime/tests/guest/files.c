/* Files, directories, times. */
#define _GNU_SOURCE
#include "tap.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static volatile int signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static long long now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A child counts how often it continues after a while without the processor, while the parent sends
 * so much that this takes many slices of time. */
static int others_run_while_much_is_sent(void) {
    volatile long *turns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int much = open("much", O_RDWR | O_CREAT, 0600), nowhere = open("/dev/null", O_WRONLY);
    if (ftruncate(much, 256 << 20) != 0)
        return 0;
    int child = fork();
    for (long long last = 0, next; child == 0; last = next) {
        next = now(CLOCK_MONOTONIC);
        *turns += next - last > 4000000;
    }
    while (*turns == 0)
        sched_yield();
    long before = *turns;
    long long begun = now(CLOCK_MONOTONIC);
    int sent = sendfile(nowhere, much, NULL, 256 << 20) == 256 << 20;
    int enough = *turns - before > 2 || now(CLOCK_MONOTONIC) - begun < 100000000;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(nowhere);
    close(much);
    unlink("much");
    return sent && enough;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    char buffer[256];
    struct stat status;
    ok(mkdir("/tmp/t", 0755) == 0 && chdir("/tmp/t") == 0, "a directory");
    ok(getcwd(buffer, sizeof buffer) && strcmp(buffer, "/tmp/t") == 0, "the working directory");
    umask(027);
    int file = open("f", O_RDWR | O_CREAT | O_EXCL, 0666);
    ok(file >= 0 && fstat(file, &status) == 0 && (status.st_mode & 0777) == 0640, "the umask");
    ok(open("f", O_CREAT | O_EXCL) == -1 && errno == EEXIST, "a file that exists");
    struct iovec pieces[] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
    ok(writev(file, pieces, 3) == 6, "writev");
    ok(pread(file, buffer, 10, 2) == 4 && memcmp(buffer, "cdef", 4) == 0, "pread");
    ok(lseek(file, 0, SEEK_CUR) == 6, "the position stays");
    ok(lseek(file, -1, SEEK_SET) == -1 && errno == EINVAL, "no position before the start");
    ok(pwrite(file, "z", 1, 100000) == 1 && read(file, buffer, 200) == 200 && buffer[100] == 0,
       "holes are zeros");
    ok(ftruncate(file, 3) == 0 && stat("f", &status) == 0 && status.st_size == 3, "ftruncate");
    int append = open("f", O_WRONLY | O_APPEND);
    lseek(append, 0, SEEK_SET);
    ok(write(append, "end", 3) == 3 && pread(file, buffer, 10, 0) == 6 &&
               memcmp(buffer, "abcend", 6) == 0, "O_APPEND");
    ok(link("f", "g") == 0 && stat("g", &status) == 0 && status.st_nlink == 2, "a second name");
    ok(symlink("g", "s") == 0 && readlink("s", buffer, 10) == 1 && lstat("s", &status) == 0 &&
               S_ISLNK(status.st_mode), "a symbolic link");
    ok(unlink("f") == 0 && access("s", R_OK) == 0, "one name is removed");
    ok(rename("g", "h") == 0 && access("s", F_OK) == -1 && errno == ENOENT, "rename");
    ok(open("h/x", O_RDONLY) == -1 && errno == ENOTDIR, "a file is no directory");
    ok(symlink("loop", "loop") == 0 && open("loop", O_RDONLY) == -1 && errno == ELOOP, "a loop");
    ok(unlink("h") == 0 && fstat(file, &status) == 0 && status.st_nlink == 0 &&
               pread(file, buffer, 1, 0) == 1, "a file without a name");

    for (int i = 0; i < 300; i++) {
        snprintf(buffer, sizeof buffer, "many-%d", i);
        close(open(buffer, O_WRONLY | O_CREAT, 0600));
    }
    int seen = 0, failed = 0;
    DIR *directory = opendir(".");
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strncmp(entry->d_name, "many-", 5) == 0) {
            seen++;
            failed |= unlink(entry->d_name);
        }
    ok(seen == 300 && !failed, "a directory is emptied while it is read");
    rewinddir(directory);
    seen = 0;
    while (readdir(directory))
        seen++;
    closedir(directory);
    ok(seen == 4, "what is left: . .. s loop");
    ok(rmdir("/tmp/t") == -1 && errno == ENOTEMPTY, "a directory that is not empty");

    int copy = dup2(file, 20);
    lseek(file, 2, SEEK_SET);
    ok(copy == 20 && lseek(20, 0, SEEK_CUR) == 2, "copies share the position");
    ok(fcntl(file, F_GETFL) & O_RDWR && fcntl(file, F_SETFD, FD_CLOEXEC) == 0 &&
               fcntl(20, F_GETFD) == 0, "flags of a descriptor are its own");
    ok(close(20) == 0 && close(20) == -1 && errno == EBADF, "closed twice");
    int ends[2];
    pipe2(ends, O_NONBLOCK);
    ok(read(ends[0], buffer, 1) == -1 && errno == EAGAIN, "nothing to wait for");
    off_t offset = 0;
    ok(sendfile(ends[1], file, &offset, 6) == 6 && offset == 6, "sendfile");
    ok(lseek(ends[0], 0, SEEK_SET) == -1 && errno == ESPIPE, "pipes have no positions");
    ok(others_run_while_much_is_sent(), "others run while much is sent");

    long long before = now(CLOCK_MONOTONIC), wall = now(CLOCK_REALTIME);
    struct timespec wait = {0, 30000000};
    ok(nanosleep(&wait, NULL) == 0, "nanosleep");
    long long slept = now(CLOCK_MONOTONIC) - before, passed = now(CLOCK_REALTIME) - wall;
    ok(slept >= 30000000 && slept < 2000000000, "it takes its time");
    ok(passed > slept - 20000000 && passed < slept + 200000000, "both clocks agree");
    ok(wall / 1000000000 > 1700000000, "the date is after 2023");
    /* The host may take the processor away for a while. */
    int idle = 0;
    for (int tries = 0; tries < 50 && !idle; tries++) {
        long long used = now(CLOCK_PROCESS_CPUTIME_ID);
        before = now(CLOCK_MONOTONIC);
        nanosleep(&wait, NULL);
        idle = now(CLOCK_PROCESS_CPUTIME_ID) - used < (now(CLOCK_MONOTONIC) - before) / 2;
    }
    ok(idle, "who sleeps uses no processor");
    struct timespec times[2] = {{1000, 5}, {2000, 6}};
    ok(utimensat(AT_FDCWD, "s", times, AT_SYMLINK_NOFOLLOW) == 0 && lstat("s", &status) == 0 &&
               status.st_mtim.tv_sec == 2000 && status.st_atim.tv_nsec == 5, "times are set");
    ok(open("/bin/files", O_WRONLY) == -1 && errno == ETXTBSY, "a program that runs is not written");
    ok(open("/bin/files", O_RDONLY | O_TRUNC) == -1 && errno == ETXTBSY, "nor made empty");
    mkdir("ro", 0755);
    ok(mount("none", "ro", "tmpfs", 0, NULL) == 0 && mkdir("ro/d", 0755) == 0, "a mount");
    ok(mount("none", "ro", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0 && mkdir("ro/e", 0755) == -1 &&
               errno == EROFS, "a mount becomes read-only");
    ok(chmod("ro/d", 0700) == -1 && errno == EROFS && rmdir("ro/d") == -1 && errno == EROFS, "it stays as it is");
    ok(mount("none", "ro", "tmpfs", MS_REMOUNT, NULL) == 0 && rmdir("ro/d") == 0, "it can be written again");
    ok(unlinkat(AT_FDCWD, "f", 0x40) == -1 && errno == EINVAL, "flags that no one knows");
    mkdir("many", 0755);
    for (int made = 0; made < 20000; made++) {
        sprintf(buffer, "many/%d", made);
        mknod(buffer, S_IFREG | 0600, 0);
    }
    DIR *many = opendir("many");
    int listed = 0;
    while (readdir(many))
        listed++;
    closedir(many);
    ok(listed == 20002, "every entry of a large directory");
    close(open("x", O_CREAT | O_WRONLY, 0644));
    ok(setxattr("x", "user.a", "value", 5, XATTR_CREATE) == 0 && setxattr("x", "trusted.t", "", 0, 0) == 0 &&
               getxattr("x", "user.a", buffer, 4) == -1 && errno == ERANGE, "an extended attribute");
    ok(getxattr("x", "user.a", NULL, 0) == 5 && getxattr("x", "user.a", buffer, 9) == 5 &&
               memcmp(buffer, "value", 5) == 0, "its value");
    ok(setxattr("x", "system.posix_acl_access", "", 0, 0) == -1 && errno == EOPNOTSUPP &&
               lsetxattr("s", "user.a", "", 0, 0) == -1 && errno == EPERM, "some there cannot be");
    int sparse = open("sparse", O_CREAT | O_RDWR, 0600);
    ok(pwrite(sparse, "x", 1, 5 << 20) == 1 && ftruncate(sparse, 8 << 20) == 0 && fstat(sparse, &status) == 0 &&
               status.st_blocks > 0 && status.st_blocks < 100, "a hole takes no space");
    ok(lseek(sparse, 0, SEEK_DATA) == 5 << 20 && lseek(sparse, 5 << 20, SEEK_HOLE) == (5 << 20) + 4096 &&
               lseek(sparse, 6 << 20, SEEK_DATA) == -1 && errno == ENXIO, "holes are found");
    ok(fallocate(sparse, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8 << 20) == 0 && fstat(sparse, &status) == 0 &&
               status.st_blocks < 100 && pread(sparse, buffer, 1, 5 << 20) == 1 && buffer[0] == 0, "a hole is punched");
    int copied[2];
    pipe2(copied, O_NONBLOCK);
    pipe2(ends, O_NONBLOCK);
    ok(tee(ends[0], copied[1], 9, 0) == -1 && errno == EAGAIN && tee(ends[0], ends[1], 9, 0) == -1 && errno == EINVAL,
       "nothing to copy");
    ok(write(ends[1], "both", 4) == 4 && tee(ends[0], copied[1], 9, 0) == 4 && read(ends[0], buffer, 9) == 4 &&
               read(copied[0], buffer + 4, 9) == 4 && memcmp(buffer, "bothboth", 8) == 0, "tee");
    mkfifo("named", 0600);
    int met = 0;
    for (int round = 0; round < 200; round++) {
        int writer = fork();
        if (writer == 0) {
            close(open("named", O_WRONLY));
            _exit(0);
        }
        alarm(60);
        int reader = open("named", O_RDONLY);
        met += reader >= 0 && read(reader, buffer, 1) == 0;
        close(reader);
        waitpid(writer, NULL, 0);
    }
    alarm(0);
    ok(met == 200, "both sides of a named pipe meet, however short");
    int master = posix_openpt(O_RDWR | O_NONBLOCK | O_NOCTTY);
    ok(unlockpt(master) == 0 && read(master, buffer, 1) == -1 && errno == EAGAIN, "no one has opened a terminal yet");
    close(open(ptsname(master), O_RDWR | O_NOCTTY));
    ok(read(master, buffer, 1) == -1 && errno == EIO, "everyone has closed it");
    for (listed = 0; listed < 300 && mkdir("a-deep-directory", 0700) == 0 && chdir("a-deep-directory") == 0;)
        listed++;
    char path[8192];
    ok(listed == 300 && syscall(SYS_getcwd, path, sizeof path) == -1 && errno == ENAMETOOLONG, "a path may be too long");
    chdir("/tmp/t");
    struct rlimit limit = {1000, 2000};
    signal(SIGXFSZ, count);
    ok(setrlimit(RLIMIT_FSIZE, &limit) == 0 && write(file, buffer, 0) == 0 && pwrite(sparse, path, 8, 996) == 4 &&
               signals == 0, "a file has a longest size");
    ok(pwrite(sparse, path, 8, 1000) == -1 && errno == EFBIG && signals == 1 && ftruncate(sparse, 1001) == -1 &&
               errno == EFBIG && signals == 2, "it gets no longer");
    setuid(1000);
    ok(listxattr("x", buffer, sizeof buffer) == 7 && strcmp(buffer, "user.a") == 0 &&
               getxattr("x", "trusted.t", NULL, 0) == -1 && errno == ENODATA, "some only root sees");
    ok(removexattr("x", "user.a") == -1 && errno == EACCES, "nor does everyone remove one");
    ok(open("/tmp/t/new", O_CREAT | O_WRONLY, 0600) == -1 && errno == EACCES, "permissions");
    ok(setuid(0) == -1 && errno == EPERM, "root does not come back");
    return done();
}
