/* log_fd: see the header. Runs inside malloc and free. */
#include "log_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HIGH = 200 };

/* statx(2) itself: a program may have a stat of its own (fakeroot). */
bool mt_log_fd_identify(int fd, const char *path, mt_log_fd_identity *id) {
#if defined SYS_statx && defined STATX_BASIC_STATS
    struct statx x;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    if (syscall(SYS_statx, fd, path, flags, STATX_BASIC_STATS, &x) == 0) {
        *id = (mt_log_fd_identity){(uint64_t)x.stx_dev_major << 32 | x.stx_dev_minor, x.stx_ino,
                                   x.stx_size, x.stx_mode, x.stx_uid};
        return true;
    }
    if (errno != ENOSYS && errno != EPERM) return false;
#endif
    struct stat s;
    if (fstatat(fd, path, &s, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return false;
    *id = (mt_log_fd_identity){s.st_dev, s.st_ino, (uint64_t)s.st_size, s.st_mode, s.st_uid};
    return true;
}

int mt_log_fd_open(const char *path, int flags) {
    return (int)syscall(SYS_openat, AT_FDCWD, path,
                        flags | O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
}

void mt_log_fd_close(int fd) {
    syscall(SYS_close, fd);
}

int mt_log_fd_raise(int fd) {
    struct rlimit most;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
    if (high < 0 && getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur > 16)
        high = fcntl(fd, F_DUPFD_CLOEXEC, (int)(most.rlim_cur < HIGH ? most.rlim_cur - 8 : 16));
    if (high < 0) return fd;
    mt_log_fd_close(fd);
    return high;
}

int mt_log_fd_create(const char *path) {
    mt_log_fd_identity id;
    int fd = mt_log_fd_open(path, O_CREAT | O_EXCL);
    if (fd < 0 && errno == EEXIST && (fd = mt_log_fd_open(path, O_NONBLOCK)) >= 0 &&
        (!mt_log_fd_identify(fd, "", &id) || !S_ISREG(id.mode) || id.bytes ||
         id.owner != geteuid())) {
        mt_log_fd_close(fd);
        errno = EEXIST;
        fd = -1;
    }
    if (fd >= 0) flock(fd, LOCK_EX | LOCK_NB);
    return fd;
}

static void append_pid(char *path, size_t room) {
    size_t n = strlen(path);
    char digits[12];
    int k = 0;
    for (unsigned pid = (unsigned)getpid(); pid; pid /= 10)
        digits[k++] = (char)('0' + pid % 10);
    if (n + (size_t)k + 2 > room) return;
    path[n++] = '.';
    while (k) path[n++] = digits[--k];
    path[n] = '\0';
}

int mt_log_fd_create_instead(char *path, size_t room) {
    for (int i = 0; i < 3; i++) {
        mt_log_fd_identity id;
        int fd = mt_log_fd_open(path, O_NONBLOCK);
        if (fd >= 0) {
            bool known = mt_log_fd_identify(fd, "", &id);
            if (known && S_ISCHR(id.mode)) return fd;
            bool busy = known && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
            mt_log_fd_close(fd);
            if (!known || !S_ISREG(id.mode)) return errno = EINVAL, -1;
            if (busy) {
                append_pid(path, room);
                continue;
            }
        }
        if (fd < 0 && mt_log_fd_identify(AT_FDCWD, path, &id) && !S_ISREG(id.mode) &&
            !S_ISLNK(id.mode))
            return errno = EINVAL, -1;
        if (unlinkat(AT_FDCWD, path, 0) != 0 && errno != ENOENT) return -1;
        fd = mt_log_fd_create(path);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}
