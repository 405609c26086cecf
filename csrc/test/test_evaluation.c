/* Outputs, losses, gradients and updates of populations equal those of each network alone; errors. */
#include "population.h"

/* Outputs, or if `losses` losses, of the networks index[0] to index[count - 1]. */
static nst_status evaluate(call *c, size_t count, int losses, double *values)
{
    size_t bytes = 0;
    nst_status status = nst_f64_population_evaluation_size(&net, NULL, &bytes);
    if (status != NST_OK)
        return status;
    void *const workspace = malloc(bytes);
    const int64_t *const rows = c->with_rows ? c->rows : NULL;
    status = losses ? nst_f64_population_loss(&net, NETWORKS, count, c->index, c->theta, ROWS, ROWS, c->x, NULL,
                                              c->labels, rows, c->with_options ? c->weight : NULL, values, NULL,
                                              c->threads, workspace, bytes - c->missing)
                    : nst_f64_population_predict(&net, NETWORKS, count, c->index, c->theta, ROWS, ROWS, c->x, rows,
                                                 values, NULL, c->threads, workspace, bytes - c->missing);
    free(workspace);
    return status;
}

static void test_outputs_and_losses_are_those_alone(void)
{
    size_t bytes;
    CHECK(nst_f64_workspace_size(&net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    for (int variant = 0; variant < 4; variant++) {
        call *const c = make_call(NST_OPTIMIZER_SGD, 1, variant % 2);
        double outputs[NETWORKS * ROWS * OUTPUTS], losses[NETWORKS], some[2 * ROWS * OUTPUTS];
        c->with_options = variant / 2;
        CHECK(evaluate(c, NETWORKS, 0, outputs) == NST_OK && evaluate(c, NETWORKS, 1, losses) == NST_OK);
        for (int m = 0; m < NETWORKS; m++) {
            double x[ROWS * INPUTS], a[ROWS * OUTPUTS], loss, most = 0;
            int64_t labels[ROWS];
            gather_rows(c, m, x, labels);
            CHECK(nst_f64_predict(&net, c->theta + m * PARAMETERS, ROWS, x, a, workspace, bytes) == NST_OK);
            CHECK(nst_f64_loss(&net, c->theta + m * PARAMETERS, ROWS, x, NULL, labels,
                               c->with_options ? c->weight + m * ROWS : NULL, workspace, bytes, &loss) == NST_OK);
            for (int i = 0; i < ROWS * OUTPUTS; i++)
                most = fmax(most, fabs(a[i] - outputs[m * ROWS * OUTPUTS + i]));
            CHECK(most < 1e-14 && fabs(losses[m] - loss) < 1e-14);
        }
        c->index[0] = NETWORKS - 1; /* bits do not depend on the other networks of the call */
        CHECK(evaluate(c, 2, 0, some) == NST_OK);
        CHECK(memcmp(some, outputs + (NETWORKS - 1) * ROWS * OUTPUTS, sizeof some / 2) == 0);
        CHECK(memcmp(some + ROWS * OUTPUTS, outputs + ROWS * OUTPUTS, sizeof some / 2) == 0);
        CHECK(evaluate(c, 2, 1, some) == NST_OK && some[0] == losses[NETWORKS - 1] && some[1] == losses[1]);
        free(c);
    }
    free(workspace);
}

/* Expects a status from outputs (unless `losses_alone`) and from losses, and nothing written. */
static void expect_value(call *c, size_t count, int losses_alone, nst_status status)
{
    double values[NETWORKS * ROWS * OUTPUTS], before[NETWORKS * ROWS * OUTPUTS];
    memset(values, 7, sizeof values);
    memcpy(before, values, sizeof values);
    CHECK(losses_alone || evaluate(c, count, 0, values) == status);
    CHECK(evaluate(c, count, 1, values) == status);
    CHECK(memcmp(values, before, sizeof values) == 0);
    free(c);
}

static void test_errors(void)
{
    call *c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->index[3] = NETWORKS;
    expect_value(c, NETWORKS, 0, NST_E_SIZE);
    expect_value(make_call(NST_OPTIMIZER_SGD, 1, 0), 0, 0, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 1);
    c->rows[NETWORKS * ROWS - 1] = -1;
    expect_value(c, NETWORKS, 0, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->labels[ROWS - 1] = OUTPUTS;
    expect_value(c, NETWORKS, 1, NST_E_LABEL);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->threads = -1;
    expect_value(c, NETWORKS, 0, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->missing = 1;
    expect_value(c, NETWORKS, 0, NST_E_WORKSPACE);
}

static void test_gradients_and_updates_are_those_alone(void)
{
    enum { ALL = NETWORKS * PARAMETERS };
    static double grad[ALL], pulled[ALL], dx[NETWORKS * ROWS * INPUTS], dout[NETWORKS * ROWS * OUTPUTS], scale[ALL];
    size_t bytes;
    int64_t updates[NETWORKS];
    double value[NETWORKS];
    CHECK(nst_f64_workspace_size(&net, 0, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    call *const c = make_call(NST_OPTIMIZER_ADAM, 1, 0), *const alone = make_call(NST_OPTIMIZER_ADAM, 1, 0);
    for (int i = 0; i < NETWORKS * ROWS * OUTPUTS; i++)
        dout[i] = sin(3.3 * i);
    for (int i = 0; i < ALL; i++)
        scale[i] = i % 3 * 0.5;
    for (int m = 0; m < NETWORKS; m++)
        updates[m] = m % 4;
    CHECK(nst_f64_population_gradient(&net, NETWORKS, c->theta, ROWS, 0, c->x, NULL, c->labels, c->weight, workspace,
                                      bytes, grad, value) == NST_OK);
    CHECK(nst_f64_population_vjp(&net, NETWORKS, c->theta, ROWS, 0, c->x, dout, 0, workspace, bytes, pulled, dx) ==
          NST_OK);
    for (int scaled = 0; scaled < 2; scaled++)
        CHECK(nst_f64_population_apply(&c->optimizers, NETWORKS, updates, PARAMETERS, c->theta, grad, SLOTS, c->slots,
                                       scaled ? scale : NULL) == NST_OK);
    for (int m = 0; m < NETWORKS; m++) {
        double *const theta = alone->theta + m * PARAMETERS, *const slots = alone->slots + m * SLOTS * PARAMETERS;
        double own[PARAMETERS], own_dx[ROWS * INPUTS], loss;
        nst_optimizer optimizer = alone->optimizers.shared;
        optimizer.lr = alone->lr[m];
        CHECK(nst_f64_vjp(&net, theta, ROWS, c->x, dout + m * ROWS * OUTPUTS, 0, workspace, bytes, own, own_dx) ==
              NST_OK);
        CHECK(memcmp(own, pulled + m * PARAMETERS, sizeof own) == 0);
        CHECK(memcmp(own_dx, dx + m * ROWS * INPUTS, sizeof own_dx) == 0);
        CHECK(nst_f64_gradient(&net, theta, ROWS, c->x, NULL, c->labels, c->weight + m * ROWS, workspace, bytes, own,
                               &loss) == NST_OK);
        CHECK(loss == value[m] && memcmp(own, grad + m * PARAMETERS, sizeof own) == 0);
        CHECK(nst_f64_update(&optimizer, (uint64_t)updates[m] + 1, PARAMETERS, theta, own, SLOTS, slots) == NST_OK);
        CHECK(nst_f64_apply(&optimizer, (uint64_t)updates[m] + 1, PARAMETERS, theta, own, SLOTS, slots,
                            scale + m * PARAMETERS) == NST_OK);
    }
    CHECK(memcmp(c->theta, alone->theta, sizeof c->theta) == 0 && memcmp(c->slots, alone->slots, sizeof c->slots) == 0);
    CHECK(nst_f64_population_vjp(&net, NETWORKS, c->theta, ROWS, 2, c->x, dout, 0, workspace, bytes, pulled, dx) ==
          NST_E_VALUE);
    CHECK(nst_f64_population_vjp(&net, NETWORKS, c->theta, ROWS, 0, c->x, dout, 0, workspace, bytes - 1, pulled, dx) ==
          NST_E_WORKSPACE);
    CHECK(nst_f64_population_gradient(&net, NETWORKS, c->theta, ROWS, 0, c->x, NULL, NULL, NULL, workspace, bytes, grad,
                                      value) == NST_E_NULL);
    c->labels[3] = OUTPUTS;
    CHECK(nst_f64_population_gradient(&net, NETWORKS, c->theta, ROWS, 0, c->x, NULL, c->labels, NULL, workspace, bytes,
                                      grad, value) == NST_E_LABEL);
    updates[NETWORKS - 1] = -1; /* the last network's fault: the first has not moved */
    CHECK(nst_f64_population_apply(&c->optimizers, NETWORKS, updates, PARAMETERS, c->theta, grad, SLOTS, c->slots,
                                   NULL) == NST_E_SIZE);
    CHECK(nst_f64_population_apply(&c->optimizers, NETWORKS, updates, PARAMETERS, c->theta, grad, 1, c->slots, NULL) ==
          NST_E_OPTIMIZER);
    CHECK(memcmp(c->theta, alone->theta, sizeof c->theta) == 0);
    free(workspace);
    free(c);
    free(alone);
}

int main(void)
{
    require_isa();
    test_outputs_and_losses_are_those_alone();
    test_gradients_and_updates_are_those_alone();
    test_errors();
    return finish("test_evaluation");
}
