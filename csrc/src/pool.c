/* Worker threads that outlive a call. Each waits at a desk of its own for a job: for a while with the processor, so that
 * calls that follow each other find it awake, then asleep, where it costs nothing. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif

#include "internal.h"
#include "team.h"

#if defined(_WIN32)

nst_status nst_pool_size(int32_t threads, size_t *bytes)
{
    if (bytes == NULL)
        return NST_E_NULL;
    *bytes = 0;
    return threads < 1 || threads > NST_MAX_THREADS ? NST_E_SIZE : NST_OK;
}

nst_status nst_pool_start(int32_t threads, void *memory, size_t bytes, nst_pool **pool)
{
    (void)threads, (void)memory, (void)bytes, (void)pool;
    return NST_E_THREADS;
}

nst_status nst_pool_stop(nst_pool *pool)
{
    (void)pool;
    return NST_E_NULL;
}

int nst_pool_members(const nst_pool *pool)
{
    (void)pool;
    return 1;
}

int nst_pool_run(nst_pool *pool, int members, nst_job *job, void *context)
{
    (void)pool, (void)members;
    nst_team alone = {.members = 1};
    job(context, &alone, 0);
    return 1;
}

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* Kernels use less than 64 KiB; the rest is for the C library and for sanitizers. */
#define STACK             ((size_t)256 * 1024)

/* How long an idle worker waits with the processor. Two calls in a row from Python are some 10 us apart. */
#define AWAKE_NANOSECONDS 50000

/* Checks before a member that waits for others leaves the processor: some 5 us, more than two meetings are apart when
 * everyone runs. Whoever waited in vain checks half as often next time: on an overloaded machine that is soon once. */
#define PATIENCE          512

/* State of a desk. Who calls turns WAITING and ASLEEP into CALLED or DISMISSED; all other changes are the worker's. From
 * WAITING on the worker has no job. */
enum { CALLED, DISMISSED, WAITING, ASLEEP };

typedef struct nst_desk {
    _Alignas(NST_LINE) _Atomic uint64_t state;
    _Alignas(NST_LINE) nst_pool *pool;
    int member;
    pthread_t thread;
    pthread_mutex_t mutex; /* of sleeping and waking only */
    pthread_cond_t wake;
} nst_desk;

struct nst_pool {
    _Alignas(NST_LINE) atomic_flag taken; /* by a job, or for good once the pool has stopped */
    _Alignas(NST_LINE) nst_job *job;
    void *context;
    nst_team team;
    int threads;
    pid_t process;
    nst_desk *desks; /* threads, the first of which is not used */
};

static inline void pause_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* "yield" does nothing on most cores */
#endif
}

void nst_wait_for(const _Atomic uint64_t *value, uint64_t target, int *patience)
{
    if (atomic_load_explicit(value, memory_order_acquire) >= target)
        return;
    for (int check = 0; check < *patience; check++) {
        pause_processor();
        if (atomic_load_explicit(value, memory_order_acquire) >= target) {
            *patience = *patience * 2 < PATIENCE ? *patience * 2 : PATIENCE;
            return;
        }
    }
    *patience = *patience / 2 + 1;
    while (atomic_load_explicit(value, memory_order_acquire) < target)
        sched_yield();
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* -- The worker ---------------------------------------------------------------------------------------------------- */

static uint64_t await_call(nst_desk *desk)
{
    const int64_t started = nanoseconds();
    do {
        for (int check = 0; check < 64; check++) {
            const uint64_t state = atomic_load_explicit(&desk->state, memory_order_acquire);
            if (state != WAITING)
                return state;
            pause_processor();
        }
        sched_yield();
    } while (nanoseconds() - started < AWAKE_NANOSECONDS);

    pthread_mutex_lock(&desk->mutex);
    uint64_t state = WAITING;
    if (atomic_compare_exchange_strong(&desk->state, &state, ASLEEP))
        while ((state = atomic_load_explicit(&desk->state, memory_order_acquire)) == ASLEEP)
            pthread_cond_wait(&desk->wake, &desk->mutex);
    pthread_mutex_unlock(&desk->mutex);
    return state;
}

static void *work(void *argument)
{
    nst_desk *const desk = argument;
    nst_pool *const pool = desk->pool;
    while (await_call(desk) == CALLED) {
        pool->team.seats[desk->member].meetings = pool->team.meetings;
        pool->job(pool->context, &pool->team, desk->member);
        atomic_store_explicit(&desk->state, WAITING, memory_order_release);
    }
    return NULL;
}

/* Give a waiting worker a new state, and see to it that it notices. */
static void call(nst_desk *desk, uint64_t state)
{
    if (atomic_exchange(&desk->state, state) != ASLEEP)
        return;
    pthread_mutex_lock(&desk->mutex);
    pthread_cond_signal(&desk->wake);
    pthread_mutex_unlock(&desk->mutex);
}

/* -- Start and stop ------------------------------------------------------------------------------------------------ */

nst_status nst_pool_size(int32_t threads, size_t *bytes)
{
    if (bytes == NULL)
        return NST_E_NULL;
    if (threads < 1 || threads > NST_MAX_THREADS)
        return NST_E_SIZE;
    /* memory from malloc is not aligned to a line */
    *bytes = NST_LINE + sizeof(nst_pool) + (size_t)threads * (sizeof(nst_seat) + sizeof(nst_desk));
    return NST_OK;
}

static int open_desk(nst_pool *pool, int member, const pthread_attr_t *attributes)
{
    nst_desk *const desk = &pool->desks[member];
    desk->pool = pool;
    desk->member = member;
    atomic_init(&desk->state, WAITING);
    if (pthread_mutex_init(&desk->mutex, NULL) != 0)
        return 0;
    if (pthread_cond_init(&desk->wake, NULL) != 0) {
        pthread_mutex_destroy(&desk->mutex);
        return 0;
    }
    if (pthread_create(&desk->thread, attributes, work, desk) != 0) {
        pthread_cond_destroy(&desk->wake);
        pthread_mutex_destroy(&desk->mutex);
        return 0;
    }
    return 1;
}

static void close_desks(nst_pool *pool, int threads)
{
    for (int member = 1; member < threads; member++)
        call(&pool->desks[member], DISMISSED);
    for (int member = 1; member < threads; member++) {
        nst_desk *const desk = &pool->desks[member];
        pthread_join(desk->thread, NULL);
        pthread_cond_destroy(&desk->wake);
        pthread_mutex_destroy(&desk->mutex);
    }
}

nst_status nst_pool_start(int32_t threads, void *memory, size_t bytes, nst_pool **out)
{
    size_t needed;
    const nst_status status = nst_pool_size(threads, &needed);
    if (status != NST_OK)
        return status;
    if (memory == NULL || out == NULL)
        return NST_E_NULL;
    if (bytes < needed)
        return NST_E_WORKSPACE;

    char *const aligned = (char *)memory + (NST_LINE - (uintptr_t)memory % NST_LINE);
    nst_pool *const pool = (nst_pool *)aligned;
    nst_seat *const seats = (nst_seat *)(pool + 1);
    *pool = (nst_pool){.taken = ATOMIC_FLAG_INIT,
                       .team = {.seats = seats},
                       .threads = threads,
                       .process = getpid(),
                       .desks = (nst_desk *)(seats + threads)};
    for (int member = 0; member < threads; member++)
        seats[member] = (nst_seat){.patience = PATIENCE};

    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return NST_E_THREADS;
    /* refused only where a thread needs more than this at least; the default then is enough */
    (void)pthread_attr_setstacksize(&attributes, STACK);
    /* signals are for the caller's own threads: workers inherit that all are blocked */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int member = 1;
    while (member < threads && open_desk(pool, member, &attributes))
        member++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (member < threads) {
        close_desks(pool, member);
        return NST_E_THREADS;
    }
    *out = pool;
    return NST_OK;
}

nst_status nst_pool_stop(nst_pool *pool)
{
    if (pool == NULL)
        return NST_E_NULL;
    /* after a fork the workers are the other process's */
    if (pool->process != getpid())
        return NST_OK;
    if (atomic_flag_test_and_set_explicit(&pool->taken, memory_order_acquire))
        return NST_E_THREADS;
    close_desks(pool, pool->threads);
    return NST_OK;
}

/* -- Jobs ---------------------------------------------------------------------------------------------------------- */

int nst_pool_members(const nst_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

static int run_alone(nst_job *job, void *context)
{
    nst_team alone = {.members = 1};
    job(context, &alone, 0);
    return 1;
}

int nst_pool_run(nst_pool *pool, int members, nst_job *job, void *context)
{
    if (pool == NULL || members <= 1 || pool->threads == 1 || pool->process != getpid() ||
        atomic_flag_test_and_set_explicit(&pool->taken, memory_order_acquire))
        return run_alone(job, context);

    members = members < pool->threads ? members : pool->threads;
    nst_seat *const own = pool->team.seats;
    pool->job = job;
    pool->context = context;
    pool->team.members = members;
    pool->team.meetings = own->meetings;
    for (int member = 1; member < members; member++)
        call(&pool->desks[member], CALLED);
    job(context, &pool->team, 0);
    for (int member = 1; member < members; member++)
        nst_wait_for(&pool->desks[member].state, WAITING, &own->patience);
    atomic_flag_clear_explicit(&pool->taken, memory_order_release);
    return members;
}

#endif
