/* A program that uses nanostep: trains XOR and returns 0 if the network has learned it. Valid in C and in C++. */
#include <nanostep.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCHS = 4000, ROWS = 4, INPUTS = 2, HIDDEN = 4, PARAMETERS = HIDDEN * (INPUTS + 1) + HIDDEN + 1 };

static void check(nst_status status)
{
    if (status != NST_OK) {
        fprintf(stderr, "nanostep: %s\n", nst_status_message(status));
        exit(2);
    }
}

int main(void)
{
    const size_t sizes[] = {INPUTS, HIDDEN, 1};
    const int32_t activations[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SIGMOID};
    const nst_architecture net = {2, sizes, activations, NST_LOSS_BINARY_CROSS_ENTROPY, NULL};
    const double x[ROWS * INPUTS] = {0, 0, 0, 1, 1, 0, 1, 1}, y[ROWS] = {0, 1, 1, 0};
    double theta[PARAMETERS] = {0.5, -0.4, -0.3, 0.8, 0.7, 0.6, -0.9, 0.2, 0, 0, 0, 0, 0.4, -0.8, 0.3, 0.6, 0};
    double losses[EPOCHS], output[ROWS];
    int64_t order[ROWS];
    nst_optimizer sgd;
    nst_run run;
    nst_cursor cursor;
    size_t count, bytes, ended;

    memset(&sgd, 0, sizeof sgd);
    sgd.kind = NST_OPTIMIZER_SGD;
    sgd.lr = 0.2;
    memset(&run, 0, sizeof run);
    run.batch = 1;
    run.shuffle = 1;
    run.threads = 1;
    memset(&cursor, 0, sizeof cursor);
    cursor.order = order;

    if (strcmp(nst_version(), NANOSTEP_VERSION) != 0) {
        fprintf(stderr, "header %s, library %s\n", NANOSTEP_VERSION, nst_version());
        return 3;
    }
    check(nst_parameter_count(&net, &count));
    if (count != PARAMETERS)
        return 4;
    check(nst_f64_workspace_size(&net, 0, &bytes));
    void *const workspace = malloc(bytes);
    if (workspace == NULL)
        return 5;
    check(nst_f64_train(&net, theta, 0, NULL, ROWS, x, y, NULL, NULL, &sgd, &run, &cursor, (size_t)EPOCHS * ROWS, losses, NULL,
                        &ended, workspace, bytes));
    check(nst_f64_predict(&net, theta, ROWS, x, output, workspace, bytes));
    free(workspace);

    int wrong = 0;
    for (int r = 0; r < ROWS; r++)
        wrong += !(output[r] > y[r] - 0.1 && output[r] < y[r] + 0.1);
    printf("xor: loss %.4f -> %.4f, %d wrong\n", losses[0], losses[ended - 1], wrong);
    return wrong > 0;
}
