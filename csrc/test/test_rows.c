/* Single samples: rows against runs of one sample, runs of single samples cut anywhere, and the plans of runs. */
#include "check.h"

#include <float.h>
#include <math.h>

enum { ROWS = 37, INPUTS = 3, MOST = 200 };

typedef struct example {
    nst_architecture net;
    size_t parameters;
    double theta[MOST], x[ROWS * INPUTS], y[ROWS];
} example;

static const int32_t activations[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SIGMOID};

/* A network of these sizes with one output, and data for it. */
static void make_example(example *e, const size_t sizes[3])
{
    e->net = (nst_architecture){2, sizes, activations, NST_LOSS_HALF_SQUARED_ERROR, NULL};
    CHECK(nst_parameter_count(&e->net, &e->parameters) == NST_OK && e->parameters <= MOST);
    for (size_t i = 0; i < MOST; i++)
        e->theta[i] = sin(12.9898 * (double)i) * 0.7;
    for (int i = 0; i < ROWS * INPUTS; i++)
        e->x[i] = cos(78.233 * i);
    for (int i = 0; i < ROWS; i++)
        e->y[i] = 0.5 + 0.4 * sin(i);
}

static const nst_optimizer sgd = {.kind = NST_OPTIMIZER_SGD, .lr = 0.3};

/* One epoch in calls of `steps` steps; returns its loss. */
static double train(const example *e, double *theta, size_t n, size_t steps)
{
    const nst_run run = {.batch = 1, .threads = 1};
    nst_cursor cursor = {0};
    double losses[3] = {0};
    size_t bytes, ended;
    CHECK(nst_f64_workspace_size(&e->net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    for (size_t made = 0; made < n; made += steps)
        CHECK(nst_f64_train(&e->net, theta, 0, NULL, n, e->x, e->y, NULL, NULL, &sgd, &run, &cursor,
                            n - made < steps ? n - made : steps, losses, NULL, &ended, workspace, bytes) == NST_OK);
    CHECK(cursor.epoch == 1 && cursor.updates == n && cursor.row == 0);
    free(workspace);
    return losses[0];
}

static void test_cuts(const size_t sizes[3])
{
    static example e;
    double whole[MOST], parts[MOST];
    make_example(&e, sizes);
    memcpy(whole, e.theta, sizeof whole);
    const double loss = train(&e, whole, ROWS, ROWS);
    for (size_t steps = 1; steps < 20; steps += 3) {
        memcpy(parts, e.theta, sizeof parts);
        CHECK(train(&e, parts, ROWS, steps) == loss);
        CHECK(memcmp(whole, parts, sizeof whole) == 0);
    }
    CHECK(memcmp(whole, e.theta, e.parameters * sizeof(double)) != 0);
}

static void test_row_makes_the_steps_of_a_run(const size_t sizes[3])
{
    static example e;
    double by_run[MOST], by_row[MOST], sum = 0, value, a, b;
    size_t bytes, row_bytes;
    nst_row *row;
    make_example(&e, sizes);
    memcpy(by_run, e.theta, sizeof by_run);
    memcpy(by_row, e.theta, sizeof by_row);
    const double loss = train(&e, by_run, ROWS, ROWS);

    CHECK(nst_f64_row_size(&e.net, &row_bytes) == NST_OK);
    char *const memory = malloc(row_bytes);
    CHECK(nst_f64_row_open(&e.net, memory, row_bytes, &row) == NST_OK);
    for (int i = 0; i < ROWS; i++) {
        CHECK(nst_f64_step_row(row, by_row, e.x + i * INPUTS, e.y + i, sgd.lr, &value) == NST_OK);
        sum += value;
    }
    CHECK(fabs(sum / ROWS - loss) < 1e-14);
    for (size_t i = 0; i < e.parameters; i++)
        CHECK(fabs(by_row[i] - by_run[i]) < 1e-13);

    CHECK(nst_f64_predict_row(row, by_row, e.x, &a) == NST_OK);
    CHECK(nst_f64_workspace_size(&e.net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_predict(&e.net, by_row, 1, e.x, &b, workspace, bytes) == NST_OK);
    CHECK(a == b);
    free(workspace);
    free(memory);
}

static void test_row_refuses(void)
{
    static const size_t sizes[] = {INPUTS, 4, 1};
    static example e;
    double value = 7, before[MOST], bad[INPUTS] = {0, INFINITY, 0}, nan = NAN;
    float single = 0;
    size_t bytes;
    nst_row *row;
    make_example(&e, sizes);
    memcpy(before, e.theta, sizeof before);
    nst_architecture none = e.net;
    none.layers = 0;
    CHECK(nst_f64_row_size(&none, &bytes) == NST_E_SIZE);
    CHECK(nst_f64_row_size(&e.net, NULL) == NST_E_NULL);
    CHECK(nst_f64_row_size(&e.net, &bytes) == NST_OK);
    char *const memory = malloc(bytes);
    CHECK(nst_f64_row_open(&e.net, memory, bytes - 1, &row) == NST_E_WORKSPACE);
    CHECK(nst_f64_row_open(&e.net, NULL, bytes, &row) == NST_E_NULL);
    CHECK(nst_f64_row_open(&e.net, memory, bytes, NULL) == NST_E_NULL);
    CHECK(nst_f64_row_open(&e.net, memory, bytes, &row) == NST_OK);
    CHECK(nst_f64_step_row(NULL, e.theta, e.x, e.y, 0.1, &value) == NST_E_NULL);
    CHECK(nst_f64_step_row(row, e.theta, e.x, e.y, 0.1, NULL) == NST_E_NULL);
    CHECK(nst_f64_step_row(row, e.theta, bad, e.y, 0.1, &value) == NST_E_VALUE);
    CHECK(nst_f64_step_row(row, e.theta, e.x, &nan, 0.1, &value) == NST_E_VALUE);
    CHECK(nst_f64_step_row(row, e.theta, e.x, e.y, 0, &value) == NST_E_VALUE);
    CHECK(nst_f64_step_row(row, e.theta, e.x, e.y, NAN, &value) == NST_E_VALUE);
    CHECK(nst_f64_step_row(row, e.theta, e.theta + 1, e.y, 0.1, &value) == NST_E_VALUE);
    CHECK(nst_f64_step_row(row, e.theta, e.x, e.theta + e.parameters - 1, 0.1, &value) == NST_E_VALUE);
    CHECK(nst_f64_predict_row(row, e.theta, bad, &value) == NST_E_VALUE);
    /* a row opened for the other precision */
    CHECK(nst_f32_predict_row(row, &single, &single, &single) == NST_E_VALUE);
    CHECK(value == 7 && memcmp(before, e.theta, sizeof before) == 0);
    free(memory);
}

static void test_cancel(void)
{
    static const size_t sizes[] = {INPUTS, 4, 1};
    static example e;
    const int32_t stop = 1;
    nst_cursor cursor = {0};
    double losses[3], before[MOST];
    size_t bytes, ended;
    make_example(&e, sizes);
    memcpy(before, e.theta, sizeof before);
    CHECK(nst_f64_workspace_size(&e.net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    for (size_t batch = 1; batch <= ROWS; batch += ROWS - 1) {
        const nst_run run = {.batch = batch, .threads = 1, .cancel = &stop};
        CHECK(nst_f64_train(&e.net, e.theta, 0, NULL, ROWS, e.x, e.y, NULL, NULL, &sgd, &run, &cursor, 1, losses, NULL,
                            &ended, workspace, bytes) == NST_E_CANCELLED);
        CHECK(cursor.updates == 0 && memcmp(before, e.theta, sizeof before) == 0);
    }
    free(workspace);
}

static int32_t regime(const size_t sizes[3], size_t batch, const nst_optimizer *optimizer)
{
    const nst_architecture net = {2, sizes, activations, NST_LOSS_HALF_SQUARED_ERROR, NULL};
    const nst_run run = {.batch = batch, .threads = 8};
    nst_plan plan;
    int32_t wide[2];
    CHECK(nst_f64_choose(&net, 10000, optimizer, &run, &plan, wide) == NST_OK);
    CHECK(plan.threads == 1); /* there is no pool */
    CHECK(plan.panel % plan.lanes == 0 && plan.lanes * sizeof(double) <= 64);
    CHECK(wide[0] == (sizes[1] == 500) && wide[1] == 0);
    return plan.regime;
}

static void test_choice(void)
{
    const nst_optimizer adam = {.kind = NST_OPTIMIZER_ADAM, .lr = 0.01};
    CHECK(regime((const size_t[]){2, 2, 1}, 1, &sgd) == NST_REGIME_TINY);
    CHECK(regime((const size_t[]){2, 2, 2}, 1, &sgd) == NST_REGIME_SAMPLES);
    CHECK(regime((const size_t[]){2, 2, 1}, 1, &adam) == NST_REGIME_TILES);
    CHECK(regime((const size_t[]){2, 2, 1}, 2, &sgd) == NST_REGIME_TILES);
    CHECK(regime((const size_t[]){20, 20, 1}, 5000, &sgd) == NST_REGIME_BLOCKS);
    CHECK(regime((const size_t[]){500, 500, 1}, 5000, &sgd) == NST_REGIME_TILES);
    CHECK(nst_f64_choose(NULL, 1, &sgd, &(nst_run){.batch = 1}, NULL, NULL) == NST_E_NULL);
}

int main(void)
{
    require_isa();
    for (size_t hidden = 1; hidden < 38; hidden = hidden * 2 + 1) {
        const size_t sizes[] = {INPUTS, hidden, 1};
        test_cuts(sizes);
        test_row_makes_the_steps_of_a_run(sizes);
    }
    test_row_refuses();
    test_cancel();
    test_choice();
    return finish("test_rows");
}
