/* Wrong arguments give the documented status, and nothing is written. */
#include "check.h"

#include <math.h>
#include <stdint.h>

static const size_t sizes[] = {2, 3, 1};
static const int32_t activations[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SIGMOID};
static const nst_architecture good = {2, sizes, activations, NST_LOSS_HALF_SQUARED_ERROR, NULL};

static nst_status count_of(nst_architecture net)
{
    size_t count;
    return nst_parameter_count(&net, &count);
}

static void test_architecture(void)
{
    size_t count = 0;
    CHECK(nst_parameter_count(&good, &count) == NST_OK && count == 13);
    CHECK(nst_parameter_count(NULL, &count) == NST_E_NULL);
    CHECK(nst_parameter_count(&good, NULL) == NST_E_NULL);

    nst_architecture bad = good;
    bad.layers = 0;
    CHECK(count_of(bad) == NST_E_SIZE);
    bad = good;
    bad.sizes = (const size_t[]){2, 0, 1};
    CHECK(count_of(bad) == NST_E_SIZE);
    bad.sizes = (const size_t[]){INT32_MAX, INT32_MAX, INT32_MAX};
    CHECK(count_of(bad) == NST_E_OVERFLOW);
    bad = good;
    bad.activations = (const int32_t[]){NST_ACTIVATION_SOFTMAX, NST_ACTIVATION_SIGMOID};
    CHECK(count_of(bad) == NST_E_ACTIVATION);
    bad.activations = (const int32_t[]){-1, NST_ACTIVATION_SIGMOID};
    CHECK(count_of(bad) == NST_E_ACTIVATION);
    bad = good;
    bad.loss = NST_LOSS_COUNT;
    CHECK(count_of(bad) == NST_E_LOSS);
    bad.loss = NST_LOSS_CROSS_ENTROPY;
    CHECK(count_of(bad) == NST_E_LOSS);
}

static void test_train(void)
{
    double theta[13], x[8] = {0}, y[4] = {0}, losses[8];
    for (int i = 0; i < 13; i++)
        theta[i] = i;
    size_t bytes, ended;
    CHECK(nst_f64_workspace_size(&good, 0, &bytes) == NST_OK);
    CHECK(nst_f64_workspace_size(&good, 4, &bytes) == NST_E_OPTIMIZER);
    CHECK(nst_f64_workspace_size(&good, 0, &bytes) == NST_OK);
    char *const workspace = malloc(bytes);
    CHECK(workspace != NULL);
    const nst_optimizer sgd = {.kind = NST_OPTIMIZER_SGD, .lr = 0.1};
    const nst_run run = {.batch = 1, .threads = 1};
    nst_cursor cursor = {0};

#define TRAIN(net, slot_count, n, x, y, labels, optimizer, run, cursor, workspace, bytes)                       \
    nst_f64_train(net, theta, slot_count, NULL, n, x, y, labels, NULL, optimizer, run, cursor, 4, losses, NULL, \
                  &ended, workspace, bytes)
    const int64_t labels[] = {0, 1, 0, 0};
    nst_optimizer unknown = sgd, momentum = sgd;
    unknown.kind = 17;
    momentum.momentum = 0.9;
    nst_run large = run, shuffled = run, none = run;
    large.batch = 5;
    shuffled.shuffle = 1;
    none.threads = -1;
    nst_cursor beyond = {.row = 4};
    const double certain[] = {1}, negative[] = {-0.1};
    nst_optimizer both = sgd;
    both.clip_norm = both.clip_value = 1;
    const nst_run wrong[] = {
        {.batch = 1, .dropout = certain},
        {.batch = 1, .dropout = negative},
        {.batch = 1, .smoothing = 1},
        {.batch = 1, .smoothing = NAN},
        {.batch = 1, .alpha = -1},
        {.batch = 1, .alpha = INFINITY},
        {.batch = 1, .scale = -1},
        {.batch = 1, .log_clip_min = 1},
        {.batch = 1, .shuffle = 1, .custom_order = 1},
    };
    int64_t order[] = {0, 1, 2, 3};
    nst_cursor ordered = {.order = order};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &wrong[i], &ordered, workspace, bytes) == NST_E_VALUE);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &both, &run, &cursor, workspace, bytes) == NST_E_VALUE);
    CHECK(TRAIN(NULL, 0, 4, x, y, NULL, &sgd, &run, &cursor, workspace, bytes) == NST_E_NULL);
    CHECK(TRAIN(&good, 0, 0, x, y, NULL, &sgd, &run, &cursor, workspace, bytes) == NST_E_SIZE);
    CHECK(TRAIN(&good, 0, SIZE_MAX, x, y, NULL, &sgd, &run, &cursor, workspace, bytes) == NST_E_OVERFLOW);
    CHECK(TRAIN(&good, 0, 4, NULL, y, NULL, &sgd, &run, &cursor, workspace, bytes) == NST_E_NULL);
    CHECK(TRAIN(&good, 0, 4, x, NULL, NULL, &sgd, &run, &cursor, workspace, bytes) == NST_E_NULL);
    CHECK(TRAIN(&good, 0, 4, x, y, labels, &sgd, &run, &cursor, workspace, bytes) == NST_E_NULL);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &unknown, &run, &cursor, workspace, bytes) == NST_E_OPTIMIZER);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &momentum, &run, &cursor, workspace, bytes) == NST_E_OPTIMIZER);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &large, &cursor, workspace, bytes) == NST_E_SIZE);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &none, &cursor, workspace, bytes) == NST_E_SIZE);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &shuffled, &cursor, workspace, bytes) == NST_E_NULL);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &run, &beyond, workspace, bytes) == NST_E_CURSOR);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &run, &cursor, workspace, bytes - 1) == NST_E_WORKSPACE);
    CHECK(TRAIN(&good, 0, 4, x, y, NULL, &sgd, &run, &cursor, NULL, bytes) == NST_E_NULL);
    for (int i = 0; i < 13; i++)
        CHECK(theta[i] == i);
    CHECK(cursor.updates == 0);

    /* the first label is good, the second is not: one update is made and counted */
    CHECK(TRAIN(&good, 0, 4, x, NULL, labels, &sgd, &run, &cursor, workspace, bytes) == NST_E_LABEL);
    CHECK(cursor.updates == 1 && cursor.row == 1);
    free(workspace);
}

static void test_status_messages(void)
{
    for (int status = 0; status < NST_STATUS_COUNT; status++)
        CHECK(strlen(nst_status_message((nst_status)status)) > 5);
    CHECK(strcmp(nst_status_message(NST_STATUS_COUNT), "unknown status") == 0);
    CHECK(nst_isa_name(NST_ISA_COUNT) == NULL);
    CHECK(nst_isa_select(NST_ISA_COUNT) == NST_E_ISA);
}

int main(void)
{
    require_isa();
    test_architecture();
    test_train();
    test_status_messages();
    return finish("test_errors");
}
