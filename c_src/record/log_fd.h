/* log_fd: descriptors of the event log's file (log_file.h): making, opening and knowing it.
 *
 * Nothing of anybody else is written to or followed: a file is a new one with mode 0600, or an
 * empty one of our own user, and no link. Each is locked (flock), so that another process that
 * would begin there sees that it is being written.
 *
 * For hooks: no lock that waits, no allocation; system calls are made directly where a program
 * may have a function of its own in front (fakeroot), and are no points of cancellation.
 */
#ifndef MT_RECORD_LOG_FD_H
#define MT_RECORD_LOG_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mt_log_fd_identity {
    uint64_t device, inode, bytes;
    uint32_t mode, owner;
} mt_log_fd_identity;

/* What the descriptor is open on (`path` ""), or what `path` names (`fd` AT_FDCWD), links not
 * followed. False, and errno: nothing. */
bool mt_log_fd_identify(int fd, const char *path, mt_log_fd_identity *id);

/* Opens what is there, with these flags besides; or -1 and errno. */
int mt_log_fd_open(const char *path, int flags);
void mt_log_fd_close(int fd);

/* A new file, or one that is empty and ours; or -1 and errno. */
int mt_log_fd_create(const char *path);

/* The same at the start: a regular file or a link that is there gives way. One that another
 * process is writing stays, and `path`, which has so much room, gets this process's number
 * behind it. A character device is opened as it is. */
int mt_log_fd_create_instead(char *path, size_t room);

/* Moves a descriptor out of the way of programs that count on the numbers of theirs. Its
 * number: where there is no higher one, what it was. */
int mt_log_fd_raise(int fd);

#endif
