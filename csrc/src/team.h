/* Teams: the workers of a job that several threads run at once, and the barrier between them. */
#ifndef NST_TEAM_H
#define NST_TEAM_H

#include "nanostep.h"

#include <stdatomic.h>

/* Two lines of 64 bytes, because processors fetch them in pairs. */
#define NST_LINE 128

/* A barrier of 2^16 workers takes 16 rounds. */
#define NST_ROUNDS      16
#define NST_MAX_THREADS (INT32_C(1) << NST_ROUNDS)

/* One worker's side of the barrier. Counts only grow, from one job to the next, so nothing is reset. */
typedef struct nst_barrier_flags {
    _Alignas(
        NST_LINE) _Atomic uint64_t arrived[NST_ROUNDS]; /* written by the worker that signals this one in a round */
    _Alignas(NST_LINE) uint64_t episode;                /* from here on used by this worker alone */
    int spin_limit;                                     /* checks before the worker yields the processor */
} nst_barrier_flags;

typedef struct nst_team {
    int workers;
    uint64_t episode;         /* of every worker at the start of the job */
    nst_barrier_flags *flags; /* workers; null in a team of one */
} nst_team;

/* The work of worker `index`, 0 to team->workers - 1, in a job. */
typedef void nst_job(void *context, nst_team *team, int index);

/* Run job(context, team, index) for every worker at the same time, worker 0 on the calling thread, and return when all
 * have finished. Returns team->workers: the requested number or the size of the pool, whichever is less; 1 if the pool
 * is null, busy with another caller's job, or was started by another process (this one is a fork's child). Never waits
 * for the pool. */
int nst_pool_run(nst_pool *pool, int workers, nst_job *job, void *context);

/* The size of the pool, including the calling thread; 1 if the pool is null. */
int nst_pool_threads(const nst_pool *pool);

/* Wait until *value >= target: spin at first, then yield the processor. */
void nst_wait_for(const _Atomic uint64_t *value, uint64_t target, int *spin_limit);

/* Return when all workers of the team have called this equally often. What a worker wrote before the barrier, all may
 * read after it. All workers must call it equally often in a job.
 *
 * Dissemination barrier (Hensgen, Finkel & Manber, 1988; Mellor-Crummey & Scott, 1991): in round r every worker signals
 * the one 2^r further on, and that signal also stands for the 2^r workers before it. Two workers exchange one cache
 * line each way, at the same time. */
static inline void nst_team_barrier(nst_team *team, int index)
{
    const int workers = team->workers;
    if (workers == 1)
        return;
    nst_barrier_flags *const own = &team->flags[index];
    const uint64_t episode = ++own->episode;
    for (int round = 0, distance = 1; distance < workers; round++, distance *= 2) {
        const int next = index + distance < workers ? index + distance : index + distance - workers;
        atomic_store_explicit(&team->flags[next].arrived[round], episode, memory_order_release);
        nst_wait_for(&own->arrived[round], episode, &own->spin_limit);
    }
}

#endif
