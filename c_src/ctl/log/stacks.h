/* log_stacks: what a log defines: stacks, the files that were mapped, threads, the start and
 * the end. Read from the definitions of all blocks before the first event is looked at.
 *
 * Stacks that are alike are one, whatever ids they have: ids ──▶ numbers ──▶ addresses.
 * Number 0 is the stack that nobody knows: not taken, or its definition was lost.
 *
 * Nothing in a definition is believed: lengths are checked against the block. One thread.
 */
#ifndef MT_CTL_LOG_STACKS_H
#define MT_CTL_LOG_STACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "ids.h"
#include "record/log_format.h"

/* Files of one log; what is more is counted and left out. */
enum { MT_LOG_OBJECTS = 16384 };

typedef struct mt_logged_stack {
    uint64_t at; /* where its addresses begin, in words */
    uint32_t frames;
} mt_logged_stack;

typedef struct mt_logged_object {
    uint64_t lo, hi, base, since, until; /* ticks; until 0: not gone */
    uint8_t *build_id;
    char *path;
    uint32_t build_id_bytes;
} mt_logged_object;

typedef struct mt_logged_thread {
    uint64_t tid; /* 0: not known */
    char *name;
} mt_logged_thread;

typedef struct mt_logged_stacks {
    mt_logged_stack *stack;
    uint64_t *words; /* the addresses of all */
    mt_logged_ids ids;
    uint32_t *number; /* of a stack, by the index of its id */
    uint32_t *quick;  /* the same by the id itself, where ids are dense */
    uint32_t *alike;  /* while definitions are read: numbers by what the addresses hash to */
    mt_logged_object *object;
    struct mt_logged_gone {
        uint64_t lo, hi, ticks;
    } * gone;
    mt_logged_ids threads; /* the blocks' numbers of threads */
    mt_logged_thread *thread;
    mt_log_start start;
    char *command; /* path and arguments, each ending in a 0; bytes of it */
    uint64_t command_bytes;
    uint32_t count, objects, gones; /* of stack, object, gone */
    uint32_t cells;                 /* of alike: a power of two */
    uint32_t direct;                /* ids below this are in `quick`; 0: look them up */
    uint32_t left_out;              /* objects */
    bool has_start, has_end;
    uint32_t ending; /* mt_log_ending */
    uint64_t dropped;
    size_t stack_room, words_room, words_used, number_room, object_room, gone_room, thread_room;
} mt_logged_stacks;

void mt_logged_stacks_open(mt_logged_stacks *stacks);
void mt_logged_stacks_close(mt_logged_stacks *stacks);

/* The definitions of one block. False: they are not what they should be, what was understood
 * before stands. */
bool mt_logged_stacks_read(mt_logged_stacks *stacks, const uint64_t *words, uint32_t count);

/* A thread's number, new or not: from 0. */
uint32_t mt_logged_stacks_thread(mt_logged_stacks *stacks, uint32_t id);

/* After the last definition: ends of objects are found, ids made quick. */
void mt_logged_stacks_ready(mt_logged_stacks *stacks);

/* The number of a stack, by its id in an event; 0: not known. After mt_logged_stacks_ready. */
static inline uint32_t mt_logged_stacks_number(const mt_logged_stacks *stacks, uint32_t id) {
    if (id < stacks->direct) return stacks->quick[id];
    if (stacks->direct) return 0;
    uint32_t index = mt_logged_ids_find(&stacks->ids, id);
    return index == MT_LOG_NO_ID ? 0 : stacks->number[index];
}

static inline const uint64_t *mt_logged_stacks_addresses(const mt_logged_stacks *stacks,
                                                         uint32_t number) {
    return stacks->words + stacks->stack[number].at;
}

#endif
