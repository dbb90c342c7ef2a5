/* processes: what the kernel tells of a process (proc(5)). It may end at any moment: what
 * cannot be read is as if it were not there. One thread. */
#ifndef MT_CTL_PROCESSES_H
#define MT_CTL_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct mt_mapping {
    uint64_t lo, hi, offset;
    uint64_t resident; /* bytes */
    bool executable;
    bool tables;   /* our own memory in that process */
    uint32_t path; /* where it begins in `texts`; an empty one: none */
} mt_mapping;

/* A moment's picture; zero-initialised is empty. */
typedef struct mt_picture {
    mt_mapping *mapping; /* by address */
    uint32_t mappings, room;
    char *texts;
    uint32_t text_bytes, text_room;
    uint64_t vss, rss, shared; /* bytes, without our own tables; 0: not known */
} mt_picture;

/* Takes one. False, with the picture as it was, if the process cannot be looked at. With
 * thousands of mappings some ms. */
bool mt_picture_take(mt_picture *picture, pid_t pid);
void mt_picture_free(mt_picture *picture);

/* The kernel's short name, that of a process that has ended and was not waited for too; "" if
 * there is none. */
void mt_process_name(pid_t pid, char name[64]);

/* The signals that it has handlers for (bit n - 1: signal n), of one that has ended too; 0 if
 * that cannot be read. To execute another program puts all handlers back. */
uint64_t mt_process_caught(pid_t pid);

/* What it knows itself by, another number than ours in a container; the same if that cannot be
 * read (Linux 4.1). */
pid_t mt_process_own_number(pid_t pid);

/* A letter of proc(5): T is stopped by a signal, Z has ended; 0 if it cannot be read. */
char mt_process_state(pid_t pid);

/* Whose it is; -1: there is no such process. */
int64_t mt_process_user(pid_t pid);

#endif
