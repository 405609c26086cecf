/* Trains 64-32-10 on handwritten digits from C: digits digits.csv, a line for each: 64 pixels (0 to 16) and the digit. */
#include <nanostep.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUTS = 64, HIDDEN = 32, CLASSES = 10, MOST = 2000, EPOCHS = 30, BATCH = 32, SLOTS = 2 };
enum { PARAMETERS = HIDDEN * (INPUTS + 1) + CLASSES * (HIDDEN + 1) };

static float x[MOST * INPUTS], a[MOST * CLASSES], theta[PARAMETERS], slots[SLOTS * PARAMETERS];
static int64_t labels[MOST], order[MOST];

static void check(nst_status status)
{
    if (status != NST_OK) {
        fprintf(stderr, "nanostep: %s\n", nst_status_message(status));
        exit(1);
    }
}

/* Number of whole rows in the file. */
static size_t read_digits(const char *path)
{
    FILE *const file = fopen(path, "r");
    size_t row = 0, read = INPUTS;
    while (file != NULL && row < MOST && read == INPUTS) {
        for (read = 0; read < INPUTS && fscanf(file, "%f,", &x[row * INPUTS + read]) == 1; read++)
            x[row * INPUTS + read] /= 16;
        row += read == INPUTS && fscanf(file, "%" SCNd64, &labels[row]) == 1;
    }
    if (file != NULL)
        fclose(file);
    return row;
}

int main(int argc, char **argv)
{
    const size_t sizes[] = {INPUTS, HIDDEN, CLASSES};
    const int32_t activations[] = {NST_ACTIVATION_RELU, NST_ACTIVATION_SOFTMAX};
    const nst_architecture net = {2, sizes, activations, NST_LOSS_CROSS_ENTROPY};
    const nst_optimizer adam = {.kind = NST_OPTIMIZER_ADAM, .lr = 3e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const nst_plan plan = {.batch = BATCH, .seed = 1, .shuffle = 1, .threads = 1};
    nst_cursor cursor = {.order = order};
    double losses[EPOCHS + 1];
    size_t bytes, ended;

    const size_t n = argc == 2 ? read_digits(argv[1]) : 0, n_train = n / 5 * 4, n_test = n - n_train;
    if (n_train == 0) {
        fprintf(stderr, "usage: digits digits.csv (lines of 64 pixels and the digit, separated by commas)\n");
        return 1;
    }
    check(nst_f32_workspace_size(&net, SLOTS, &bytes));
    void *const workspace = malloc(bytes);
    if (workspace == NULL)
        return 1;
    for (int i = 0; i < HIDDEN * INPUTS; i++) /* biases stay 0 */
        theta[i] = ((float)rand() / (float)RAND_MAX - 0.5f) * 2 * sqrtf(6.0f / INPUTS);
    for (int i = 0; i < CLASSES * HIDDEN; i++)
        theta[HIDDEN * (INPUTS + 1) + i] = ((float)rand() / (float)RAND_MAX - 0.5f) * 2 * sqrtf(6.0f / HIDDEN);

    const size_t steps = (n_train + BATCH - 1) / BATCH * EPOCHS;
    check(nst_f32_train(&net, theta, SLOTS, slots, n_train, x, NULL, labels, &adam, &plan, &cursor, steps, losses,
                        &ended, workspace, bytes));
    check(nst_f32_predict(&net, theta, n_test, x + n_train * INPUTS, a, workspace, bytes));
    free(workspace);
    size_t right = 0;
    for (size_t row = 0; row < n_test; row++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            best = a[row * CLASSES + (size_t)c] > a[row * CLASSES + (size_t)best] ? c : best;
        right += best == labels[n_train + row];
    }
    printf("loss %.4f -> %.4f, %.1f%% of %zu held out digits right\n", losses[0], losses[ended - 1],
           100.0 * (double)right / (double)n_test, n_test);
    return 0;
}
