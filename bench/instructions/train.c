/* Trains W1, W2 or W4 for a number of steps: `train W1 1000`. count.py runs it under callgrind with one number of steps
 * and with twice as many; the difference is the cost of the steps. Prints the library's compiler. */
#include <nanostep.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 256 };

static void check(int good, const char *message)
{
    if (!good) {
        fprintf(stderr, "train: %s\n", message);
        exit(1);
    }
}

static void *allocate(size_t bytes)
{
    void *const memory = calloc(bytes + 1, 1);
    check(memory != NULL, "no memory");
    return memory;
}

/* Uniform in -1 .. 1: Lehmer's generator with Park and Miller's multiplier, the same numbers on every machine. */
static double next(uint64_t *state)
{
    *state = *state * 48271 % 2147483647;
    return 2.0 * (double)*state / 2147483647.0 - 1;
}

/* n floats or doubles, uniform in middle +- width. */
static void *numbers(size_t n, int single, double middle, double width, uint64_t *state)
{
    void *const memory = allocate(n * (single ? sizeof(float) : sizeof(double)));
    for (size_t i = 0; i < n; i++) {
        const double value = middle + width * next(state);
        if (single)
            ((float *)memory)[i] = (float)value;
        else
            ((double *)memory)[i] = value;
    }
    return memory;
}

/* One workload: plain SGD on random inputs and targets or, with `classes`, labels. */
typedef struct workload {
    nst_architecture net;
    size_t batch;
    double lr;
    int classes, single;
} workload;

static void train(const workload *w, size_t steps)
{
    const nst_architecture *const net = &w->net;
    const nst_optimizer sgd = {.kind = NST_OPTIMIZER_SGD, .lr = w->lr};
    const nst_run run = {.batch = w->batch, .threads = 1};
    const size_t inputs = net->sizes[0], outputs = net->sizes[net->layers];
    nst_cursor cursor = {0};
    uint64_t state = 1;
    size_t count, bytes, ended;

    check(nst_parameter_count(net, &count) == NST_OK, "architecture");
    check((w->single ? nst_f32_workspace_size : nst_f64_workspace_size)(net, 0, &bytes) == NST_OK, "workspace");
    void *const theta = numbers(count, w->single, 0, 0.3, &state), *const workspace = allocate(bytes);
    void *const x = numbers(ROWS * inputs, w->single, 0, 1, &state);
    void *const targets = numbers(ROWS * outputs, w->single, 0.5, 0.2, &state);
    int64_t *const numbered = allocate(ROWS * sizeof(int64_t));
    for (size_t i = 0; i < ROWS; i++)
        numbered[i] = (int64_t)(i % outputs);
    double *const losses = allocate((steps * w->batch / ROWS + 2) * sizeof(double));
    void *const y = w->classes ? NULL : targets;
    const int64_t *const labels = w->classes ? numbered : NULL;

    const nst_status status = w->single ? nst_f32_train(net, theta, 0, NULL, ROWS, x, y, labels, NULL, &sgd, &run,
                                                        &cursor, steps, losses, NULL, &ended, workspace, bytes)
                                        : nst_f64_train(net, theta, 0, NULL, ROWS, x, y, labels, NULL, &sgd, &run,
                                                        &cursor, steps, losses, NULL, &ended, workspace, bytes);
    check(status == NST_OK, nst_status_message(status));
    free(theta), free(x), free(targets), free(numbered), free(losses), free(workspace);
}

int main(int argc, char **argv)
{
    static const size_t w1[] = {2, 2, 1}, w2[] = {4, 16, 3}, w4[] = {64, 32, 10};
    static const int32_t sigmoids[] = {NST_ACTIVATION_SIGMOID, NST_ACTIVATION_SIGMOID};
    static const int32_t tanh_softmax[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SOFTMAX};
    static const int32_t relu_softmax[] = {NST_ACTIVATION_RELU, NST_ACTIVATION_SOFTMAX};
    check(argc == 3, "the arguments are W1, W2 or W4, and the number of steps");
    const size_t steps = strtoul(argv[2], NULL, 10);
    check(steps > 0, "the number of steps is not positive");
    if (strcmp(argv[1], "W1") == 0)
        train(&(workload){{2, w1, sigmoids, NST_LOSS_HALF_SQUARED_ERROR}, 1, 0.5, 0, 0}, steps);
    else if (strcmp(argv[1], "W2") == 0)
        train(&(workload){{2, w2, tanh_softmax, NST_LOSS_CROSS_ENTROPY}, 1, 0.05, 1, 0}, steps);
    else if (strcmp(argv[1], "W4") == 0)
        train(&(workload){{2, w4, relu_softmax, NST_LOSS_CROSS_ENTROPY}, 32, 0.02, 1, 1}, steps);
    else
        check(0, "the workload is not W1, W2 or W4");
    puts(nst_compiler());
    return 0;
}
