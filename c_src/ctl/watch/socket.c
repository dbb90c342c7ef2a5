/* socket: see the header. */
#include "socket.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/commands.h"

int mt_socket_listen(mt_socket *s) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint64_t random[2] = {0};
    s->without = false;
    if (getrandom(random, sizeof random, 0) != sizeof random) random[0] = (uint64_t)getpid();
    int n = snprintf(s->name, sizeof s->name, "mtrace-%016llx%016llx",
                     (unsigned long long)random[0], (unsigned long long)random[1]);
    memcpy(address.sun_path + 1, s->name, (size_t)n);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd >= 0 && bind(s->fd, (struct sockaddr *)&address, length) == 0 &&
        listen(s->fd, 4096) == 0)
        return 0;
    mt_say("no socket to be reached at by the program: %s", strerror(errno));
    if (s->fd >= 0) close(s->fd);
    return -1;
}

/* Where several were sent none is wanted, and none stays: padding has room for a second one. */
static int the_only(const struct cmsghdr *c) {
    int fd = -1;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return -1;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof fd;
    for (size_t i = 0; i < n; i++) {
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        if (n > 1) close(fd);
    }
    return n == 1 ? fd : -1;
}

static int receive(int connection) {
    char byte;
    struct iovec data = {&byte, 1};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct msghdr m = {.msg_iov = &data,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control.room};
    if (recvmsg(connection, &m, MSG_CMSG_CLOEXEC) < 1) return -1;
    return the_only(CMSG_FIRSTHDR(&m));
}

static int from(mt_socket *s, int connection, pid_t *pid) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    struct timeval patience = {1, 0};
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return -1;
    if (peer.uid != geteuid()) return -1;
    *pid = peer.pid;
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int fd = receive(connection);
    if (fd < 0) s->without = true;
    return fd;
}

int mt_socket_take(mt_socket *s, pid_t *pid) {
    for (;;) {
        int connection = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0 && errno == EINTR) continue;
        if (connection < 0 && (errno == EMFILE || errno == ENFILE))
            usleep(10000); /* it stays */
        if (connection < 0) return -1;
        int fd = from(s, connection, pid);
        close(connection);
        if (fd >= 0) return fd;
    }
}

void mt_socket_close(mt_socket *s) {
    close(s->fd);
    s->fd = -1;
}
