/* Faults at the system calls that write, of Python, HDF5 and all else in a process: a library for LD_PRELOAD.
 *
 * The calls on files below one folder are counted: open for writing, write, truncate, fsync, link, rename, unlink,
 * mkdir, rmdir. The n-th fails, is the last before a kill, or stops the process; see `How` in injection.py.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum how { NOTHING, FAIL, FULL, KILL, TORN, PAUSE, JUMP };

static char folder[4096];
static size_t folder_length;
static long chosen;
static enum how how;
static int number;          /* errno of FAIL */
static long long seconds;   /* by which the clock jumps, at once or with JUMP */
static long long clock_ahead;
static int journal = -1;    /* a line a call: its name and the file */
static atomic_long calls;

void fault_arm(const char *below, long at, int kind, int error, long long jump, long long ahead, int log) {
    snprintf(folder, sizeof folder, "%s/", below);
    folder_length = strlen(folder);
    chosen = at, how = kind, number = error, seconds = jump, clock_ahead = ahead, journal = log;
    atomic_store(&calls, 0);
}

void fault_disarm(void) { folder_length = 0; }

static int below(const char *path) { return strncmp(path, folder, folder_length) == 0; }

static int of_descriptor(int descriptor, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int resolve(int directory, const char *name, char *path, size_t size) {
    if (name[0] == '/') {
        snprintf(path, size, "%s", name);
        return 1;
    }
    if (directory == AT_FDCWD) {
        if (syscall(SYS_getcwd, path, size) < 0) return 0;
    } else if (!of_descriptor(directory, path, size))
        return 0;
    size_t length = strlen(path);
    snprintf(path + length, size - length, "/%s", name);
    return 1;
}

/* Count a call on a path; return whether it is the chosen one, or comes after it on a full disk. */
static int counted(const char *call, const char *path) {
    if (!folder_length || !below(path)) return 0;
    long now = atomic_fetch_add(&calls, 1) + 1;
    if (journal >= 0) {
        char line[5000];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        syscall(SYS_write, journal, line, (size_t)length);
    }
    return now == chosen || (how == FULL && now > chosen);
}

static int watch(const char *call, int directory, const char *name) {
    char path[8192];
    return folder_length && name && resolve(directory, name, path, sizeof path) && counted(call, path);
}

static int watch_descriptor(const char *call, int descriptor) {
    char path[8192];
    return folder_length && of_descriptor(descriptor, path, sizeof path) && counted(call, path);
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* What happens instead of a chosen call: 1 if it fails. `takes_space`: whether a full disk refuses it. */
static int refused(int takes_space) {
    if (how == FAIL || (how == FULL && takes_space)) {
        errno = how == FULL ? ENOSPC : number;
        return 1;
    }
    if (how == PAUSE) syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
    if (how == JUMP) clock_ahead += seconds;
    return 0;
}

static void done(void) {
    if (how == KILL || how == TORN) die();
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRAP(mine, space, call) \
    if (!(mine)) return (call); \
    if (refused(space)) return -1; \
    __typeof__(call) result = (call); \
    int kept = errno; \
    done(); \
    errno = kept; \
    return result

#define WRITES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        WRAP(WRITES(flags) && watch("open", AT_FDCWD, path), flags & O_CREAT, real(path, flags, mode)); \
    }
#define OPENAT(name) \
    int name(int directory, const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        WRAP(WRITES(flags) && watch("open", directory, path), flags & O_CREAT, real(directory, path, flags, mode)); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        if (!(strpbrk(mode, "wa+") && watch("open", AT_FDCWD, path))) return real(path, mode); \
        if (refused(1)) return NULL; \
        FILE *result = real(path, mode); \
        done(); \
        return result; \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* A torn write, and the first on a full disk, leave half of the bytes. */
ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write);
    if (!watch_descriptor("write", descriptor)) return real(descriptor, data, size);
    if ((how == TORN || (how == FULL && atomic_load(&calls) == chosen)) && size > 1) {
        ssize_t result = real(descriptor, data, size / 2);
        done();
        return result;
    }
    if (refused(1)) return -1;
    ssize_t result = real(descriptor, data, size);
    int kept = errno;
    done();
    errno = kept;
    return result;
}

#define PWRITE(name, offset_type) \
    ssize_t name(int descriptor, const void *data, size_t size, offset_type offset) { \
        REAL(name); \
        if (!watch_descriptor("pwrite", descriptor)) return real(descriptor, data, size, offset); \
        if ((how == TORN || (how == FULL && atomic_load(&calls) == chosen)) && size > 1) { \
            ssize_t result = real(descriptor, data, size / 2, offset); \
            done(); \
            return result; \
        } \
        if (refused(1)) return -1; \
        ssize_t result = real(descriptor, data, size, offset); \
        int kept = errno; \
        done(); \
        errno = kept; \
        return result; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
    REAL(writev);
    WRAP(watch_descriptor("write", descriptor), 1, real(descriptor, pieces, count));
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate);
    WRAP(watch_descriptor("truncate", descriptor), 1, real(descriptor, size));
}
int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    WRAP(watch_descriptor("truncate", descriptor), 1, real(descriptor, size));
}
int posix_fallocate(int descriptor, off_t offset, off_t size) {
    REAL(posix_fallocate);
    if (watch_descriptor("truncate", descriptor) && refused(1)) return errno;
    return real(descriptor, offset, size);
}

int fsync(int descriptor) {
    REAL(fsync);
    WRAP(watch_descriptor("fsync", descriptor), 0, real(descriptor));
}
int fdatasync(int descriptor) {
    REAL(fdatasync);
    WRAP(watch_descriptor("fsync", descriptor), 0, real(descriptor));
}

int link(const char *from, const char *to) {
    REAL(link);
    WRAP(watch("link", AT_FDCWD, to), 1, real(from, to));
}
int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    REAL(linkat);
    WRAP(watch("link", to_directory, to), 1, real(from_directory, from, to_directory, to, flags));
}
int symlink(const char *from, const char *to) {
    REAL(symlink);
    WRAP(watch("link", AT_FDCWD, to), 1, real(from, to));
}

int rename(const char *from, const char *to) {
    REAL(rename);
    WRAP(watch("rename", AT_FDCWD, to), 0, real(from, to));
}
int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    WRAP(watch("rename", to_directory, to), 0, real(from_directory, from, to_directory, to));
}
int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    REAL(renameat2);
    WRAP(watch("rename", to_directory, to), 0, real(from_directory, from, to_directory, to, flags));
}

int unlink(const char *path) {
    REAL(unlink);
    WRAP(watch("unlink", AT_FDCWD, path), 0, real(path));
}
int unlinkat(int directory, const char *path, int flags) {
    REAL(unlinkat);
    WRAP(watch(flags & AT_REMOVEDIR ? "rmdir" : "unlink", directory, path), 0, real(directory, path, flags));
}
int rmdir(const char *path) {
    REAL(rmdir);
    WRAP(watch("rmdir", AT_FDCWD, path), 0, real(path));
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    WRAP(watch("mkdir", AT_FDCWD, path), 1, real(path, mode));
}
int mkdirat(int directory, const char *path, mode_t mode) {
    REAL(mkdirat);
    WRAP(watch("mkdir", directory, path), 1, real(directory, path, mode));
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += clock_ahead;
    return result;
}
