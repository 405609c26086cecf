/* Worker threads that outlive a call. Between jobs a worker spins for a while, so that a call soon after the last one
 * finds it awake, and then sleeps, which costs nothing. */
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

int nst_pool_threads(const nst_pool *pool)
{
    (void)pool;
    return 1;
}

int nst_pool_run(nst_pool *pool, int workers, nst_job *job, void *context)
{
    (void)pool, (void)workers;
    nst_team alone = {.workers = 1};
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
#define STACK            ((size_t)256 * 1024)

/* How long an idle worker spins before it sleeps. Two calls in a row from Python are some 10 us apart. */
#define SPIN_NANOSECONDS 50000

/* Checks before a worker that waits at a barrier yields the processor: some 5 us, which is longer than the interval
 * between two barriers while all workers run. The limit is halved after every wait that had to yield: on an overloaded
 * machine it soon is 1. */
#define SPIN_LIMIT       512

/* State of a worker. The caller turns SPINNING and SLEEPING into ASSIGNED or STOPPING; the worker makes all other
 * changes. While it is SPINNING or SLEEPING, it has no job. */
enum { ASSIGNED, STOPPING, SPINNING, SLEEPING };

typedef struct nst_worker {
    _Alignas(NST_LINE) _Atomic uint64_t state;
    _Alignas(NST_LINE) nst_pool *pool;
    int index;
    pthread_t thread;
    pthread_mutex_t mutex; /* for sleeping and waking only */
    pthread_cond_t wake;
} nst_worker;

struct nst_pool {
    _Alignas(NST_LINE) atomic_flag busy; /* with a job; set for good once the pool has stopped */
    _Alignas(NST_LINE) nst_job *job;
    void *context;
    nst_team team;
    int threads;
    pid_t process;
    nst_worker *workers; /* `threads` of them; the first is not used */
};

static inline void pause_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* "yield" does nothing on most cores */
#endif
}

void nst_wait_for(const _Atomic uint64_t *value, uint64_t target, int *spin_limit)
{
    if (atomic_load_explicit(value, memory_order_acquire) >= target)
        return;
    for (int check = 0; check < *spin_limit; check++) {
        pause_processor();
        if (atomic_load_explicit(value, memory_order_acquire) >= target) {
            *spin_limit = *spin_limit * 2 < SPIN_LIMIT ? *spin_limit * 2 : SPIN_LIMIT;
            return;
        }
    }
    *spin_limit = *spin_limit / 2 + 1;
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

static uint64_t wait_for_job(nst_worker *worker)
{
    const int64_t started = nanoseconds();
    do {
        for (int check = 0; check < 64; check++) {
            const uint64_t state = atomic_load_explicit(&worker->state, memory_order_acquire);
            if (state != SPINNING)
                return state;
            pause_processor();
        }
        sched_yield();
    } while (nanoseconds() - started < SPIN_NANOSECONDS);

    pthread_mutex_lock(&worker->mutex);
    uint64_t state = SPINNING;
    if (atomic_compare_exchange_strong(&worker->state, &state, SLEEPING))
        while ((state = atomic_load_explicit(&worker->state, memory_order_acquire)) == SLEEPING)
            pthread_cond_wait(&worker->wake, &worker->mutex);
    pthread_mutex_unlock(&worker->mutex);
    return state;
}

static void *work(void *argument)
{
    nst_worker *const worker = argument;
    nst_pool *const pool = worker->pool;
    while (wait_for_job(worker) == ASSIGNED) {
        pool->team.flags[worker->index].episode = pool->team.episode;
        pool->job(pool->context, &pool->team, worker->index);
        atomic_store_explicit(&worker->state, SPINNING, memory_order_release);
    }
    return NULL;
}

/* Give an idle worker a new state and wake it if it sleeps. */
static void set_state(nst_worker *worker, uint64_t state)
{
    if (atomic_exchange(&worker->state, state) != SLEEPING)
        return;
    pthread_mutex_lock(&worker->mutex);
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->mutex);
}

/* -- Start and stop ------------------------------------------------------------------------------------------------ */

nst_status nst_pool_size(int32_t threads, size_t *bytes)
{
    if (bytes == NULL)
        return NST_E_NULL;
    if (threads < 1 || threads > NST_MAX_THREADS)
        return NST_E_SIZE;
    /* memory from malloc is not aligned to a line */
    *bytes = NST_LINE + sizeof(nst_pool) + (size_t)threads * (sizeof(nst_barrier_flags) + sizeof(nst_worker));
    return NST_OK;
}

static int start_worker(nst_pool *pool, int index, const pthread_attr_t *attributes)
{
    nst_worker *const worker = &pool->workers[index];
    worker->pool = pool;
    worker->index = index;
    atomic_init(&worker->state, SPINNING);
    if (pthread_mutex_init(&worker->mutex, NULL) != 0)
        return 0;
    if (pthread_cond_init(&worker->wake, NULL) != 0) {
        pthread_mutex_destroy(&worker->mutex);
        return 0;
    }
    if (pthread_create(&worker->thread, attributes, work, worker) != 0) {
        pthread_cond_destroy(&worker->wake);
        pthread_mutex_destroy(&worker->mutex);
        return 0;
    }
    return 1;
}

static void stop_workers(nst_pool *pool, int threads)
{
    for (int i = 1; i < threads; i++)
        set_state(&pool->workers[i], STOPPING);
    for (int i = 1; i < threads; i++) {
        nst_worker *const worker = &pool->workers[i];
        pthread_join(worker->thread, NULL);
        pthread_cond_destroy(&worker->wake);
        pthread_mutex_destroy(&worker->mutex);
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
    nst_barrier_flags *const flags = (nst_barrier_flags *)(pool + 1);
    *pool = (nst_pool){.busy = ATOMIC_FLAG_INIT,
                       .team = {.flags = flags},
                       .threads = threads,
                       .process = getpid(),
                       .workers = (nst_worker *)(flags + threads)};
    for (int i = 0; i < threads; i++)
        flags[i] = (nst_barrier_flags){.spin_limit = SPIN_LIMIT};

    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return NST_E_THREADS;
    /* refused only where the system's minimum is larger; the default size then is enough */
    (void)pthread_attr_setstacksize(&attributes, STACK);
    /* signals are for the caller's own threads: workers inherit a mask that blocks them all */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 1;
    while (started < threads && start_worker(pool, started, &attributes))
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (started < threads) {
        stop_workers(pool, started);
        return NST_E_THREADS;
    }
    *out = pool;
    return NST_OK;
}

nst_status nst_pool_stop(nst_pool *pool)
{
    if (pool == NULL)
        return NST_E_NULL;
    /* after a fork the workers belong to the parent process */
    if (pool->process != getpid())
        return NST_OK;
    if (atomic_flag_test_and_set_explicit(&pool->busy, memory_order_acquire))
        return NST_E_THREADS;
    stop_workers(pool, pool->threads);
    return NST_OK;
}

/* -- Jobs ---------------------------------------------------------------------------------------------------------- */

int nst_pool_threads(const nst_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

static int run_alone(nst_job *job, void *context)
{
    nst_team alone = {.workers = 1};
    job(context, &alone, 0);
    return 1;
}

int nst_pool_run(nst_pool *pool, int workers, nst_job *job, void *context)
{
    if (pool == NULL || workers <= 1 || pool->threads == 1 || pool->process != getpid() ||
        atomic_flag_test_and_set_explicit(&pool->busy, memory_order_acquire))
        return run_alone(job, context);

    workers = workers < pool->threads ? workers : pool->threads;
    nst_barrier_flags *const own = pool->team.flags;
    pool->job = job;
    pool->context = context;
    pool->team.workers = workers;
    pool->team.episode = own->episode;
    for (int i = 1; i < workers; i++)
        set_state(&pool->workers[i], ASSIGNED);
    job(context, &pool->team, 0);
    for (int i = 1; i < workers; i++)
        nst_wait_for(&pool->workers[i].state, SPINNING, &own->spin_limit);
    atomic_flag_clear_explicit(&pool->busy, memory_order_release);
    return workers;
}

#endif
