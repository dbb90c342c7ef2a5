#include "threads.h"

#include <pthread.h>

#define THREADS 16

enum what { NOTHING, TAKE, GIVE, STOP };

struct worker {
    pthread_t thread;
    enum what job;
    enum site site;
    enum way way;
    size_t size;
    void *p;
    int runs;
};

static struct worker workers[THREADS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void *corpus_thread_main(void *arg) {
    struct worker *w = arg;
    pthread_mutex_lock(&lock);
    while (w->job != STOP) {
        if (w->job == NOTHING) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        if (w->job == TAKE) w->p = corpus_take(w->site, w->way, NULL, 0, w->size);
        if (w->job == GIVE) corpus_give(w->site, w->way, w->p, w->size);
        w->job = NOTHING;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

int corpus_thread_start(void) {
    int found = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < THREADS && found < 0; i++)
        if (!workers[i].runs) found = i;
    if (found >= 0) {
        workers[found].job = NOTHING;
        if (pthread_create(&workers[found].thread, NULL, corpus_thread_main, &workers[found]))
            found = -1;
        else workers[found].runs = 1;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void *run(int thread, struct worker job) {
    struct worker *w = &workers[thread];
    void *p = NULL;
    if (thread < 0 || thread >= THREADS) return NULL;
    pthread_mutex_lock(&lock);
    if (w->runs) {
        w->site = job.site, w->way = job.way, w->size = job.size, w->p = job.p;
        w->job = job.job;
        pthread_cond_broadcast(&changed);
        while (w->job == TAKE || w->job == GIVE) pthread_cond_wait(&changed, &lock);
        p = w->p;
    }
    pthread_mutex_unlock(&lock);
    return p;
}

void *corpus_thread_take(int thread, enum site site, enum way way, size_t size) {
    return run(thread, (struct worker){.job = TAKE, .site = site, .way = way, .size = size});
}

void corpus_thread_give(int thread, enum site site, enum way way, void *p, size_t size) {
    run(thread, (struct worker){.job = GIVE, .site = site, .way = way, .size = size, .p = p});
}

void corpus_thread_stop(int thread) {
    if (thread < 0 || thread >= THREADS || !workers[thread].runs) return;
    run(thread, (struct worker){.job = STOP});
    pthread_join(workers[thread].thread, NULL);
    pthread_mutex_lock(&lock);
    workers[thread].runs = 0;
    pthread_mutex_unlock(&lock);
}
