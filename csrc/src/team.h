/* Teams: the members of a job that several threads run at once, and the place where they wait for each other. */
#ifndef NST_TEAM_H
#define NST_TEAM_H

#include "nanostep.h"

#include <stdatomic.h>

/* Two lines of 64 bytes, because processors fetch them in pairs. */
#define NST_LINE 128

/* 2^16 members meet in 16 rounds. */
#define NST_ROUNDS      16
#define NST_MAX_THREADS (INT32_C(1) << NST_ROUNDS)

/* What one member has for meeting the others. Counts only grow, from one job to the next, so nothing is reset. */
typedef struct nst_seat {
    _Alignas(
        NST_LINE) _Atomic uint64_t arrived[NST_ROUNDS]; /* written by the one who calls on this member in a round */
    _Alignas(NST_LINE) uint64_t meetings;               /* from here on used by the member alone */
    int patience;                                       /* checks before the processor is left to others */
} nst_seat;

typedef struct nst_team {
    int members;
    uint64_t meetings; /* count of every member at the start of the job */
    nst_seat *seats;   /* members; null in a team of one */
} nst_team;

/* Member 0 to team->members - 1 of a job. */
typedef void nst_job(void *context, nst_team *team, int member);

/* Run job(context, team, member) for every member at the same time, member 0 on the calling thread, and return when all
 * have come back. Returns team->members: what was asked for or the size of the pool, whichever is less; 1 if the pool is
 * null, at work for another caller, or was started by another process (this one is a fork's child). Never waits. */
int nst_pool_run(nst_pool *pool, int members, nst_job *job, void *context);

/* The most members that a job can have; 1 if the pool is null. */
int nst_pool_members(const nst_pool *pool);

/* Wait until *value >= target: at first with the processor, then giving it to others. */
void nst_wait_for(const _Atomic uint64_t *value, uint64_t target, int *patience);

/* Return when all members have called this as often. What a member wrote before, all may read afterwards. All members
 * must call it equally often in a job.
 *
 * Dissemination barrier: in round r every member tells the one 2^r further on that it is here, which by then implies the
 * 2^r before itself. Two members exchange one cache line each way, at the same time. */
static inline void nst_team_meet(nst_team *team, int member)
{
    const int members = team->members;
    if (members == 1)
        return;
    nst_seat *const own = &team->seats[member];
    const uint64_t meeting = ++own->meetings;
    for (int round = 0, distance = 1; distance < members; round++, distance *= 2) {
        const int next = member + distance < members ? member + distance : member + distance - members;
        atomic_store_explicit(&team->seats[next].arrived[round], meeting, memory_order_release);
        nst_wait_for(&own->arrived[round], meeting, &own->patience);
    }
}

#endif
