/* Trains 64-32-10 on handwritten digits: `digits digits.csv`. A line holds 64 pixels (0 to 16) and the digit; every
 * fifth line is held out. */
#include <nanostep.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUTS = 64, HIDDEN = 32, CLASSES = 10, MOST = 2000, EPOCHS = 30, BATCH = 32, SLOTS = 2 };
enum { FIRST = HIDDEN * (INPUTS + 1), PARAMETERS = FIRST + CLASSES * (HIDDEN + 1) };

static struct {
    float x[MOST][INPUTS];
    int64_t labels[MOST];
    size_t n;
} train, held_out;
static float theta[PARAMETERS], slots[SLOTS * PARAMETERS], output[MOST][CLASSES];

static void check(int good, const char *message)
{
    if (!good) {
        fprintf(stderr, "digits: %s\n", message);
        exit(1);
    }
}

static void read_digits(FILE *file)
{
    int got = INPUTS + 1;
    for (int line = 0; line < MOST && got == INPUTS + 1; line++) {
        float *const x = line % 5 == 4 ? held_out.x[held_out.n] : train.x[train.n];
        int64_t *const label = line % 5 == 4 ? &held_out.labels[held_out.n] : &train.labels[train.n];
        for (got = 0; got < INPUTS && fscanf(file, "%f,", &x[got]) == 1; got++)
            x[got] /= 16;
        got += got == INPUTS && fscanf(file, "%" SCNd64, label) == 1;
        *(line % 5 == 4 ? &held_out.n : &train.n) += got == INPUTS + 1;
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    const size_t sizes[] = {INPUTS, HIDDEN, CLASSES};
    const int32_t activations[] = {NST_ACTIVATION_RELU, NST_ACTIVATION_SOFTMAX};
    const nst_architecture net = {2, sizes, activations, NST_LOSS_CROSS_ENTROPY, NULL};
    const nst_optimizer adam = {.kind = NST_OPTIMIZER_ADAM, .lr = 3e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const nst_run run = {.batch = BATCH, .seed = 1, .shuffle = 1, .threads = 1};
    static int64_t order[MOST];
    nst_cursor cursor = {.order = order};
    double losses[EPOCHS + 1];
    size_t bytes, ended, right = 0;

    FILE *const file = argc == 2 ? fopen(argv[1], "r") : NULL;
    check(file != NULL, "the argument must be a CSV file of 64 pixels and the digit on each line");
    read_digits(file);
    check(held_out.n > 0, "the file holds too few digits");
    for (int i = 0; i < PARAMETERS; i++) /* about sqrt(6 / inputs), as suits relu */
        theta[i] = (2 * (float)rand() / (float)RAND_MAX - 1) * (i < FIRST ? 0.3f : 0.4f);

    nst_status status = nst_f32_workspace_size(&net, SLOTS, &bytes);
    void *const workspace = malloc(bytes);
    check(workspace != NULL, "no memory");
    if (status == NST_OK)
        status = nst_f32_train(&net, theta, SLOTS, slots, train.n, train.x[0], NULL, train.labels, NULL, &adam, &run,
                               &cursor, (train.n + BATCH - 1) / BATCH * EPOCHS, losses, NULL, &ended, workspace, bytes);
    if (status == NST_OK)
        status = nst_f32_predict(&net, theta, held_out.n, held_out.x[0], output[0], workspace, bytes);
    free(workspace);
    check(status == NST_OK, nst_status_message(status));
    for (size_t row = 0; row < held_out.n; row++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            best = output[row][c] > output[row][best] ? c : best;
        right += best == held_out.labels[row];
    }
    printf("loss %.4f -> %.4f\n%.1f %% of %zu held-out digits right\n", losses[0], losses[ended - 1],
           100.0 * (double)right / (double)held_out.n, held_out.n);
    return 0;
}
