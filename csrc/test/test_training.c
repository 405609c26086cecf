/* The worked example, gradients by finite differences, and runs cut into calls. */
#include "check.h"

#include <math.h>

static double worst(const double *a, const double *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* 2-2-1, all sigmoid, half squared error; expected values computed with 30 digits. */
static void test_worked_example(void)
{
    const size_t sizes[] = {2, 2, 1};
    const int32_t activations[] = {NST_ACTIVATION_SIGMOID, NST_ACTIVATION_SIGMOID};
    const nst_architecture net = {2, sizes, activations, NST_LOSS_HALF_SQUARED_ERROR, NULL};
    double theta[] = {0.15, 0.20, 0.25, 0.30, 0.35, 0.35, 0.40, 0.45, 0.60};
    const double x[] = {0.05, 0.10}, y[] = {0.01};
    const double gradient[] = {0.000668396021144373, 0.00133679204228875, 0.000749803774444843,
                               0.00149960754888969,  0.0133679204228875,  0.0149960754888969,
                               0.0821670405642308,   0.0826676278475333,  0.138498561628557};
    const double after[] = {0.149665801989428, 0.199331603978856, 0.249625098112778,
                            0.299250196225555, 0.343316039788556, 0.342501962255552,
                            0.358916479717885, 0.408666186076233, 0.530750719185722};
    const nst_optimizer sgd = {.kind = NST_OPTIMIZER_SGD, .lr = 0.5};
    const nst_run run = {.batch = 1, .threads = 1};
    nst_cursor cursor = {.isa = -1};
    double grad[9], loss, epoch_loss[2], output;
    size_t bytes, ended;
    nst_isa isa;

    CHECK(nst_isa_current(&isa) == NST_OK);
    CHECK(nst_f64_workspace_size(&net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_gradient(&net, theta, 1, x, y, NULL, NULL, workspace, bytes, grad, &loss) == NST_OK);
    CHECK(fabs(loss - 0.274811083176155) < 1e-14);
    CHECK(worst(grad, gradient, 9) < 1e-14);
    CHECK(nst_f64_train(&net, theta, 0, NULL, 1, x, y, NULL, NULL, &sgd, &run, &cursor, 1, epoch_loss, NULL, &ended,
                        workspace, bytes) == NST_OK);
    CHECK(cursor.isa == (int32_t)isa);
    CHECK(ended == 1 && cursor.epoch == 1 && cursor.updates == 1);
    CHECK(worst(theta, after, 9) < 1e-14);
    CHECK(nst_f64_predict(&net, theta, 1, x, &output, workspace, bytes) == NST_OK);
    CHECK(fabs(output - 0.72835213707658) < 1e-14);
    CHECK(nst_f64_loss(&net, theta, 1, x, y, NULL, NULL, workspace, bytes, &loss) == NST_OK);
    CHECK(fabs(loss - 0.258014896421245) < 1e-14);
    free(workspace);
}

enum { ROWS = 150, INPUTS = 5, HIDDEN = 7, CLASSES = 3, PARAMETERS = HIDDEN * (INPUTS + 1) + CLASSES * (HIDDEN + 1) };

static const size_t deep_sizes[] = {INPUTS, HIDDEN, CLASSES};
static const int32_t deep_activations[] = {NST_ACTIVATION_SILU, NST_ACTIVATION_SOFTMAX};
static const nst_architecture deep = {2, deep_sizes, deep_activations, NST_LOSS_CROSS_ENTROPY, NULL};

static void make_data(double *theta, double *x, int64_t *labels)
{
    for (int i = 0; i < PARAMETERS; i++)
        theta[i] = sin(12.9898 * i) * 0.7;
    for (int i = 0; i < ROWS * INPUTS; i++)
        x[i] = cos(78.233 * i);
    for (int i = 0; i < ROWS; i++)
        labels[i] = i % CLASSES;
}

static void test_finite_differences(void)
{
    double theta[PARAMETERS], x[ROWS * INPUTS], grad[PARAMETERS], above, below, loss;
    int64_t labels[ROWS];
    size_t bytes;
    make_data(theta, x, labels);
    CHECK(nst_f64_workspace_size(&deep, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_gradient(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, grad, &loss) == NST_OK);
    for (int p = 0; p < PARAMETERS; p++) {
        const double kept = theta[p], h = 1e-6;
        theta[p] = kept + h;
        CHECK(nst_f64_loss(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, &above) == NST_OK);
        theta[p] = kept - h;
        CHECK(nst_f64_loss(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, &below) == NST_OK);
        theta[p] = kept;
        CHECK(fabs((above - below) / (2 * h) - grad[p]) < 1e-8);
    }
    free(workspace);
}

/* The loss' own delta, pulled back, gives its gradient; then an update that leaves the first layer alone. */
static void test_own_loss(void)
{
    double theta[PARAMETERS], before[PARAMETERS], x[ROWS * INPUTS], a[ROWS * CLASSES], want[PARAMETERS], loss;
    double grad[PARAMETERS], dx[ROWS * INPUTS], only[ROWS * INPUTS], scale[PARAMETERS], slots[2 * PARAMETERS] = {0};
    const nst_optimizer adam = {.kind = NST_OPTIMIZER_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    int64_t labels[ROWS];
    size_t bytes;
    make_data(theta, x, labels);
    CHECK(nst_f64_workspace_size(&deep, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_gradient(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, want, &loss) == NST_OK);
    CHECK(nst_f64_predict(&deep, theta, ROWS, x, a, workspace, bytes) == NST_OK);
    for (int b = 0; b < ROWS; b++)
        for (int o = 0; o < CLASSES; o++)
            a[b * CLASSES + o] = (a[b * CLASSES + o] - (o == labels[b])) / ROWS;
    CHECK(nst_f64_vjp(&deep, theta, ROWS, x, a, 1, workspace, bytes, grad, dx) == NST_OK);
    CHECK(worst(grad, want, PARAMETERS) < 1e-14);
    CHECK(nst_f64_vjp(&deep, theta, ROWS, x, a, 1, workspace, bytes, NULL, only) == NST_OK);
    CHECK(memcmp(dx, only, sizeof dx) == 0);
    for (int i = 0; i < 2 * INPUTS; i++) {
        const double kept = x[i], h = 1e-6;
        double above, below;
        x[i] = kept + h;
        CHECK(nst_f64_loss(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, &above) == NST_OK);
        x[i] = kept - h;
        CHECK(nst_f64_loss(&deep, theta, ROWS, x, NULL, labels, NULL, workspace, bytes, &below) == NST_OK);
        x[i] = kept;
        CHECK(fabs((above - below) / (2 * h) - dx[i]) < 1e-8);
    }
    CHECK(nst_f64_vjp(&deep, theta, 0, NULL, NULL, 0, workspace, bytes, want, NULL) == NST_OK);
    for (int p = 0; p < PARAMETERS; p++)
        CHECK(want[p] == 0);
    CHECK(nst_f64_vjp(&deep, theta, ROWS, x, NULL, 0, workspace, bytes, grad, NULL) == NST_E_NULL);
    CHECK(nst_f64_vjp(&deep, theta, ROWS, x, a, 2, workspace, bytes, grad, NULL) == NST_E_VALUE);
    CHECK(nst_f64_vjp(&deep, theta, ROWS, x, a, 0, workspace, bytes - 1, grad, NULL) == NST_E_WORKSPACE);

    memcpy(before, theta, sizeof theta);
    for (int p = 0; p < PARAMETERS; p++)
        scale[p] = p < HIDDEN * (INPUTS + 1) ? 0 : 2;
    CHECK(nst_f64_apply(&adam, 1, PARAMETERS, theta, grad, 2, slots, NULL) == NST_E_NULL);
    CHECK(nst_f64_apply(&adam, 0, PARAMETERS, theta, grad, 2, slots, scale) == NST_E_SIZE);
    CHECK(nst_f64_apply(&adam, 1, PARAMETERS, theta, grad, 1, slots, scale) == NST_E_OPTIMIZER);
    CHECK(memcmp(theta, before, sizeof theta) == 0);
    CHECK(nst_f64_apply(&adam, 1, PARAMETERS, theta, grad, 2, slots, scale) == NST_OK);
    for (int p = 0; p < PARAMETERS; p++) {
        /* Adam's first step is lr * sign(grad) */
        const double moved = 2 * 0.01 * grad[p] / (fabs(grad[p]) + 1e-8);
        CHECK(scale[p] == 0 ? theta[p] == before[p] && slots[p] == 0 && slots[PARAMETERS + p] == 0
                            : fabs(before[p] - theta[p] - moved) < 1e-12);
    }
    free(workspace);
}

/* A run in one call and the same run in calls of three steps have the same bits. */
static void test_cut_run(void)
{
    double theta[2][PARAMETERS], slots[2][2 * PARAMETERS] = {{0}}, x[ROWS * INPUTS], losses[64];
    int64_t labels[ROWS], order[2][ROWS];
    const nst_optimizer adam = {.kind = NST_OPTIMIZER_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const nst_run run = {.batch = 16, .seed = 5, .shuffle = 1, .threads = 1};
    const size_t steps = 30;
    size_t bytes, ended, epochs = 0;
    CHECK(nst_f64_workspace_size(&deep, 2, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    for (int part = 0; part < 2; part++) {
        nst_cursor cursor = {.order = order[part]};
        make_data(theta[part], x, labels);
        for (size_t made = 0; made < steps; made += part ? 3 : steps) {
            CHECK(nst_f64_train(&deep, theta[part], 2, slots[part], ROWS, x, NULL, labels, NULL, &adam, &run, &cursor,
                                part ? 3 : steps, losses, NULL, &ended, workspace, bytes) == NST_OK);
            epochs += ended;
        }
        CHECK(cursor.updates == steps && cursor.epoch == 3);
    }
    CHECK(epochs == 6);
    CHECK(memcmp(theta[0], theta[1], sizeof theta[0]) == 0);
    CHECK(memcmp(slots[0], slots[1], sizeof slots[0]) == 0);
    free(workspace);
}

/* Cross-entropy before the Jacobian of softmax, as a caller's function; `user` counts its calls. */
static void surprisal(const double *a, const double *y, size_t n, size_t outputs, double *loss, double *da, void *user)
{
    ++*(int *)user;
    for (size_t b = 0; b < n; b++) {
        loss[b] = 0;
        for (size_t o = 0; o < outputs; o++) {
            const size_t at = b * outputs + o;
            loss[b] -= y[at] == 0 ? 0 : y[at] * log(a[at]);
            da[at] = -y[at] / a[at];
        }
    }
}

/* A function of the caller's does what the library's loss does; options are checked. */
static void test_options_of_losses(void)
{
    double theta[PARAMETERS], x[ROWS * INPUTS], got[PARAMETERS], want[PARAMETERS], loss, value, y[ROWS * CLASSES] = {0};
    double most = 0, quantiles[] = {0.25, 1.5};
    int64_t labels[ROWS];
    int calls = 0;
    size_t bytes, count;
    nst_loss_options options = {.custom_f64 = surprisal, .user = &calls};
    nst_architecture net = deep;
    make_data(theta, x, labels);
    for (size_t b = 0; b < ROWS; b++)
        y[b * CLASSES + (size_t)labels[b]] = 1;
    CHECK(nst_f64_workspace_size(&deep, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_gradient(&deep, theta, ROWS, x, y, NULL, NULL, workspace, bytes, want, &value) == NST_OK);
    net.loss = NST_LOSS_CUSTOM;
    net.loss_options = &options;
    CHECK(nst_f64_gradient(&net, theta, ROWS, x, y, NULL, NULL, workspace, bytes, got, &loss) == NST_OK);
    for (size_t p = 0; p < PARAMETERS; p++)
        most = fabs(got[p] - want[p]) > most ? fabs(got[p] - want[p]) : most;
    CHECK(calls > 0 && most < 1e-13 && fabs(loss - value) < 1e-13);
    CHECK(nst_f64_loss(&net, theta, ROWS, x, y, NULL, NULL, workspace, bytes, &loss) == NST_OK);
    CHECK(fabs(loss - value) < 1e-13);

    options.custom_f64 = NULL; /* for the other precision alone, or none */
    CHECK(nst_f64_loss(&net, theta, ROWS, x, y, NULL, NULL, workspace, bytes, &loss) == NST_E_LOSS);
    net.loss_options = NULL;
    CHECK(nst_parameter_count(&net, &count) == NST_E_LOSS);
    net.loss = NST_LOSS_GAUSSIAN_NLL; /* needs the identity */
    CHECK(nst_parameter_count(&net, &count) == NST_E_LOSS);
    net.loss = NST_LOSS_QUANTILE;
    CHECK(nst_parameter_count(&net, &count) == NST_E_LOSS);
    options = (nst_loss_options){.quantiles = CLASSES + 1, .quantile__q = quantiles};
    net.loss_options = &options;
    CHECK(nst_parameter_count(&net, &count) == NST_E_LOSS);
    options.quantiles = 1;
    CHECK(nst_parameter_count(&net, &count) == NST_OK);
    quantiles[0] = 1;
    CHECK(nst_parameter_count(&net, &count) == NST_E_VALUE);
    net.loss = NST_LOSS_HUBER;
    options.delta = -1;
    CHECK(nst_parameter_count(&net, &count) == NST_E_VALUE);
    free(workspace);
}

int main(void)
{
    require_isa();
    test_worked_example();
    test_finite_differences();
    test_own_loss();
    test_options_of_losses();
    test_cut_run();
    return finish("test_training");
}
