/* Native threads that a NIF starts. Each waits for a job, an allocation or a free, does it on
 * its own stack, and waits for the next; so what a step does is done when the step is. */
#ifndef CORPUS_THREADS_H
#define CORPUS_THREADS_H

#include "sites.h"

/* The number of a new thread, or -1 if there are too many. */
int corpus_thread_start(void);

/* As corpus_take and corpus_give, on that thread. One caller at a time for each thread; NULL
 * and nothing, if there is no such thread. */
void *corpus_thread_take(int thread, enum site site, enum way way, size_t size);
void corpus_thread_give(int thread, enum site site, enum way way, void *p, size_t size);

/* Ends it, and waits for that. */
void corpus_thread_stop(int thread);

#endif
