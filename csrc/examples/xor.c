/* Trains XOR from C: cc xor.c -lnanostep -lm */
#include <nanostep.h>

#include <stdio.h>
#include <stdlib.h>

enum { EPOCHS = 4000, ROWS = 4 };

static void check(nst_status status)
{
    if (status != NST_OK) {
        fprintf(stderr, "nanostep: %s\n", nst_status_message(status));
        exit(1);
    }
}

int main(void)
{
    const size_t sizes[] = {2, 4, 1};
    const int32_t activations[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SIGMOID};
    const nst_architecture net = {2, sizes, activations, NST_LOSS_BINARY_CROSS_ENTROPY, NULL};
    const float x[ROWS * 2] = {0, 0, 0, 1, 1, 0, 1, 1}, y[ROWS] = {0, 1, 1, 0};
    const nst_optimizer sgd = {.kind = NST_OPTIMIZER_SGD, .lr = 0.1};
    const nst_run run = {.batch = 1, .seed = 1, .shuffle = 1, .threads = 1};
    int64_t order[ROWS];
    nst_cursor cursor = {.order = order};
    double losses[EPOCHS];
    float output[ROWS];
    size_t count, bytes, ended;

    check(nst_parameter_count(&net, &count));
    check(nst_f32_workspace_size(&net, 0, &bytes));
    float *const theta = malloc(count * sizeof *theta);
    void *const workspace = malloc(bytes);
    if (theta == NULL || workspace == NULL)
        return 1;
    srand(1);
    for (size_t i = 0; i < count; i++)
        theta[i] = 2 * (float)rand() / (float)RAND_MAX - 1;

    check(nst_f32_train(&net, theta, 0, NULL, ROWS, x, y, NULL, NULL, &sgd, &run, &cursor, (size_t)EPOCHS * ROWS,
                        losses, NULL, &ended, workspace, bytes));
    check(nst_f32_predict(&net, theta, ROWS, x, output, workspace, bytes));
    printf("loss %.4f -> %.4f after %zu epochs on %s\n", losses[0], losses[ended - 1], ended,
           nst_isa_name((nst_isa)cursor.isa));
    int wrong = 0;
    for (int r = 0; r < ROWS; r++) {
        printf("%g xor %g = %.3f\n", (double)x[2 * r], (double)x[2 * r + 1], (double)output[r]);
        wrong += (output[r] > 0.5f) != (y[r] > 0.5f);
    }
    free(workspace);
    free(theta);
    return wrong;
}
