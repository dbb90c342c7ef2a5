/* socket: where traced processes hand over their tables: an abstract Unix socket (unix(7)) with
 * a name that nobody guesses. Only processes of our own user are listened to. */
#ifndef MT_CTL_SOCKET_H
#define MT_CTL_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct mt_socket {
    int fd; /* to be polled */
    char name[64];
    bool without; /* somebody has come who had nothing to hand over */
} mt_socket;

/* 0, or -1 after one sentence on stderr. */
int mt_socket_listen(mt_socket *s);

/* The next memfd that was handed over, the caller's own, close-on-exec, and whose it is: the
 * process's number as we know it. -1: nobody is there (any more). Never waits for long. */
int mt_socket_take(mt_socket *s, pid_t *pid);

void mt_socket_close(mt_socket *s);

#endif
