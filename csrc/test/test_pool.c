/* The pool: every worker runs once, and after a barrier sees what the others wrote; callers never wait for each other;
 * a fork's child runs alone. Meant to be run with -fsanitize=thread, too. */
#define _DEFAULT_SOURCE
#include "check.h"

#if defined(_WIN32)

int main(void)
{
    nst_pool *pool = NULL;
    CHECK(nst_pool_start(2, &pool, sizeof pool, &pool) == NST_E_THREADS && pool == NULL);
    return finish("test_pool");
}

#else

#include "../src/team.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 8, ROUNDS = 500 };

typedef struct ring {
    int workers[MOST];   /* team->workers as each worker saw it */
    int values[2][MOST]; /* not atomic: only the barriers order the accesses */
    _Atomic int mistakes;
} ring;

/* In every round each worker adds one to what its neighbour wrote in the last. */
static void pass_on(void *context, nst_team *team, int worker)
{
    ring *const r = context;
    r->workers[worker] = team->workers;
    r->values[0][worker] = 0;
    nst_team_barrier(team, worker);
    for (int round = 0; round < ROUNDS; round++) {
        const int seen = r->values[round % 2][(worker + 1) % team->workers];
        if (seen != round)
            atomic_fetch_add(&r->mistakes, 1);
        r->values[(round + 1) % 2][worker] = seen + 1;
        nst_team_barrier(team, worker);
    }
}

static void check_ring(nst_pool *pool, int requested, int expected)
{
    ring r = {0};
    const int ran = nst_pool_run(pool, requested, pass_on, &r);
    CHECK(ran == expected && atomic_load(&r.mistakes) == 0);
    for (int worker = 0; worker < MOST; worker++) {
        CHECK(r.workers[worker] == (worker < ran ? ran : 0));
        CHECK(r.values[ROUNDS % 2][worker] == (worker < ran ? ROUNDS : 0));
    }
}

static nst_pool *start(int threads, void **memory)
{
    size_t bytes = 0;
    nst_pool *pool = NULL;
    CHECK(nst_pool_size(threads, &bytes) == NST_OK);
    /* misaligned by one byte, as a caller's array may be */
    *memory = malloc(bytes + 1);
    CHECK(*memory != NULL);
    CHECK(nst_pool_start(threads, (char *)*memory + 1, bytes, &pool) == NST_OK);
    return pool;
}

static void test_arguments(void)
{
    char memory[8];
    size_t bytes;
    nst_pool *pool = NULL;
    CHECK(nst_pool_size(2, NULL) == NST_E_NULL);
    CHECK(nst_pool_size(0, &bytes) == NST_E_SIZE);
    CHECK(nst_pool_size(NST_MAX_THREADS + 1, &bytes) == NST_E_SIZE);
    CHECK(nst_pool_size(NST_MAX_THREADS, &bytes) == NST_OK);
    CHECK(nst_pool_start(-1, memory, sizeof memory, &pool) == NST_E_SIZE);
    CHECK(nst_pool_start(2, NULL, sizeof memory, &pool) == NST_E_NULL);
    CHECK(nst_pool_start(2, memory, sizeof memory, NULL) == NST_E_NULL);
    CHECK(nst_pool_start(2, memory, sizeof memory, &pool) == NST_E_WORKSPACE);
    CHECK(nst_pool_stop(NULL) == NST_E_NULL);
    CHECK(pool == NULL && nst_pool_threads(pool) == 1);
}

/* Also more workers than processors, and teams of changing size one after another. */
static void test_teams(void)
{
    check_ring(NULL, 4, 1);
    for (int threads = 1; threads <= MOST; threads += threads == 1 ? 1 : 3) {
        void *memory;
        nst_pool *const pool = start(threads, &memory);
        CHECK(nst_pool_threads(pool) == threads);
        for (int repeat = 0; repeat < 20; repeat++)
            for (int workers = 0; workers <= MOST; workers++)
                check_ring(pool, workers, workers < 1 ? 1 : workers < threads ? workers : threads);
        CHECK(nst_pool_stop(pool) == NST_OK);
        CHECK(nst_pool_stop(pool) == NST_E_THREADS);
        check_ring(pool, threads, 1);
        free(memory);
    }
}

static void count(void *context, nst_team *team, int worker)
{
    (void)team, (void)worker;
    atomic_fetch_add((_Atomic int *)context, 1);
}

typedef struct nested {
    nst_pool *pool;
    _Atomic int jobs;
} nested;

static void run_within(void *context, nst_team *team, int worker)
{
    nested *const n = context;
    CHECK(team->workers == 2 && nst_pool_stop(n->pool) == NST_E_THREADS);
    CHECK(nst_pool_run(n->pool, 2, count, &n->jobs) == 1);
    nst_team_barrier(team, worker);
}

static void *call_often(void *argument)
{
    nst_pool *const pool = argument;
    _Atomic int jobs = 0;
    int expected = 0;
    for (int i = 0; i < 2000; i++)
        expected += nst_pool_run(pool, 2, count, &jobs);
    return (void *)(intptr_t)(expected - atomic_load(&jobs));
}

static void test_one_job_at_a_time(void)
{
    void *memory;
    nst_pool *const pool = start(2, &memory);
    nested n = {.pool = pool};
    CHECK(nst_pool_run(pool, 2, run_within, &n) == 2 && atomic_load(&n.jobs) == 2);

    pthread_t callers[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&callers[i], NULL, call_often, pool) == 0);
    for (int i = 0; i < 4; i++) {
        void *missing;
        CHECK(pthread_join(callers[i], &missing) == 0 && missing == NULL);
    }
    check_ring(pool, 2, 2);
    CHECK(nst_pool_stop(pool) == NST_OK);
    free(memory);
}

static void test_fork(void)
{
    void *memory;
    nst_pool *const pool = start(3, &memory);
    check_ring(pool, 3, 3);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        failures = 0;
        check_ring(pool, 3, 1);
        CHECK(nst_pool_stop(pool) == NST_OK);
        _exit(failures != 0);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    check_ring(pool, 3, 3);
    CHECK(nst_pool_stop(pool) == NST_OK);
    free(memory);
}

static int64_t microseconds_used(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * INT64_C(1000000) + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

static void test_idle_workers_sleep(void)
{
    void *memory;
    nst_pool *const pool = start(4, &memory);
    check_ring(pool, 4, 4);
    const int64_t before = microseconds_used();
    usleep(1000000);
    CHECK(microseconds_used() - before < 20000);
    /* and wake up */
    check_ring(pool, 4, 4);
    CHECK(nst_pool_stop(pool) == NST_OK);
    free(memory);
}

static void try_signal_mask(void *context, nst_team *team, int worker)
{
    (void)team;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ((int *)context)[worker] = sigismember(&blocked, SIGINT);
}

static void test_signals_go_to_the_caller(void)
{
    void *memory;
    nst_pool *const pool = start(2, &memory);
    int blocked[2] = {-1, -1};
    CHECK(nst_pool_run(pool, 2, try_signal_mask, blocked) == 2);
    CHECK(blocked[0] == 0 && blocked[1] == 1);
    CHECK(nst_pool_stop(pool) == NST_OK);
    free(memory);
}

int main(void)
{
    test_arguments();
    test_teams();
    test_one_job_at_a_time();
    test_fork();
    test_idle_workers_sleep();
    test_signals_go_to_the_caller();
    return finish("test_pool");
}

#endif
