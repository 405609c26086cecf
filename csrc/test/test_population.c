/* Populations: each network gets the results of nst_*_train on it alone; errors; cancelled calls. */
#include "population.h"

static nst_status train_population(call *c)
{
    size_t bytes = 0;
    int32_t isa = -1, threads = 0;
    nst_status status = nst_f64_population_workspace_size(&net, c->slot_count, &c->run, ROWS, EPOCHS, &bytes);
    if (status != NST_OK)
        return status;
    void *const workspace = malloc(bytes);
    status = nst_f64_population_train(
        &net, NETWORKS, c->count, c->index, c->theta, c->slot_count, c->slots, ROWS, ROWS, c->x, NULL, c->labels,
        c->with_rows ? c->rows : NULL, c->with_options ? c->weight : NULL, c->order, &c->optimizers,
        c->with_rates ? c->rates : NULL, c->with_options ? c->alpha : NULL, c->plain, &c->run, 0, 0, EPOCHS, c->loss,
        c->penalty, c->done, &isa, &threads, workspace, bytes);
    free(workspace);
    return status;
}

/* Train network m of a fresh call alone; write its parameters to theta, the last epoch's means to loss and penalty. */
static void run_alone(const call *c, int m, double *theta, double *loss, double *penalty)
{
    double slots[SLOTS * PARAMETERS] = {0}, x[ROWS * INPUTS], losses[EPOCHS + 1], penalties[EPOCHS + 1];
    int64_t labels[ROWS], order[ROWS];
    nst_cursor cursor = {.order = order};
    nst_optimizer optimizer = c->optimizers.shared;
    optimizer.lr = c->lr[m];
    optimizer.clip_value = c->optimizers.clip_value == NULL ? 0 : c->extra[m];
    nst_run run = c->run;
    if (c->with_rates)
        run.rates = c->rates + (size_t)m * c->steps;
    run.alpha = c->with_options ? c->alpha[m] : 0;
    memcpy(order, c->order, sizeof order);
    size_t bytes, ended;
    gather_rows(c, m, x, labels);
    memcpy(theta, c->theta + m * PARAMETERS, sizeof(double) * PARAMETERS);
    CHECK(nst_f64_workspace_size(&net, c->slot_count, &bytes) == NST_OK);
    void *const workspace = malloc(bytes);
    CHECK(nst_f64_train(&net, theta, c->slot_count, slots, ROWS, x, NULL, labels,
                        c->with_options ? c->weight + m * ROWS : NULL, &optimizer, &run, &cursor, c->steps, losses,
                        penalties, &ended, workspace, bytes) == NST_OK);
    free(workspace);
    *loss = losses[EPOCHS - 1];
    *penalty = penalties[EPOCHS - 1];
}

/* Turn on weights, penalties and all other options that exclude plain updates. */
static void use_every_option(call *c)
{
    c->with_options = 1;
    c->plain = 0;
    c->run.shuffle = 0;
    c->run.custom_order = c->run.batch_mean = 1;
    c->run.scale = 2;
    c->run.log_clip_min = -1.5;
    c->optimizers.shared.l1 = 0.001;
    for (int m = 0; m < NETWORKS; m++)
        c->extra[m] = 0.02 * (m % 4);
    c->optimizers.clip_value = c->extra;
}

static void test_networks_are_those_trained_alone(void)
{
    const nst_optimizer_kind kinds[] = {NST_OPTIMIZER_SGD, NST_OPTIMIZER_ADAM, NST_OPTIMIZER_ADAMW};
    const size_t batches[] = {1, 8, 12};
    for (int kind = 0; kind < 3; kind++)
        for (int b = 0; b < 3; b++)
            for (int variant = 0; variant < 12; variant++) {
                call *const c = make_call(kinds[kind], batches[b], variant % 2);
                if (variant / 2 % 2)
                    use_every_option(c);
                c->with_rates = variant / 4 == 1;
                if (variant / 4 == 2)
                    c->run.rates = c->rates;
                call *const before = malloc(sizeof *before);
                memcpy(before, c, sizeof *c);
                CHECK(train_population(c) == NST_OK);
                for (int m = 0; m < NETWORKS; m++) {
                    double theta[PARAMETERS], loss, penalty, most = 0;
                    run_alone(before, m, theta, &loss, &penalty);
                    for (int p = 0; p < PARAMETERS; p++)
                        most = fmax(most, fabs(theta[p] - c->theta[m * PARAMETERS + p]));
                    CHECK(most < 1e-12);
                    CHECK(c->done[m] == 1 && fabs(c->loss[m * EPOCHS + EPOCHS - 1] - loss) < 1e-12);
                    CHECK(!c->with_options || fabs(c->penalty[m * EPOCHS + EPOCHS - 1] - penalty) < 1e-12);
                }
                free(before);
                free(c);
            }
}

/* Expects a status, and theta unchanged. */
static void expect(call *c, nst_status status)
{
    call *const before = make_call((nst_optimizer_kind)c->optimizers.shared.kind, 1, 0);
    CHECK(train_population(c) == status);
    CHECK(memcmp(before->theta, c->theta, sizeof before->theta) == 0);
    free(before);
    free(c);
}

static void test_errors(void)
{
    const double dropout[] = {0.5};
    const int32_t cancel = 1;
    call *c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->index[3] = NETWORKS;
    expect(c, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->index[3] = -1;
    expect(c, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->count = 0;
    expect(c, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->labels[ROWS - 1] = OUTPUTS;
    expect(c, NST_E_LABEL);
    c = make_call(NST_OPTIMIZER_SGD, 4, 1);
    for (int m = 0; m < NETWORKS; m++)
        c->rows[m * ROWS + 7] = ROWS;
    expect(c, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->plain = 0;
    c->optimizers.shared.kind = NST_OPTIMIZER_COUNT;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_ADAM, 8, 0);
    c->plain = 1;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->slot_count = 1; /* plain updates have no memory for it */
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->extra[NETWORKS - 1] = 0.1; /* not plain */
    c->optimizers.weight_decay = c->extra;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->extra[1] = 0.9; /* needs a slot */
    c->optimizers.momentum = c->extra;
    c->plain = 0;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_SGD, 4, 0);
    c->plain = 0;
    c->extra[7] = 0.1;
    c->optimizers.clip_value = c->extra;
    c->optimizers.shared.clip_norm = 1; /* which exclude each other */
    expect(c, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_ADAM, 8, 0);
    c->slot_count = 1;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_ADAM, 8, 0);
    c->optimizers.shared.amsgrad = 1;
    expect(c, NST_E_OPTIMIZER);
    c = make_call(NST_OPTIMIZER_SGD, 4, 1);
    for (int r = 0; r < ROWS; r++)
        c->labels[r] = OUTPUTS;
    expect(c, NST_E_LABEL);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->with_rates = 1;
    c->run.rates = c->rates; /* which exclude each other */
    expect(c, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_SGD, 1, 0);
    c->run.dropout = dropout;
    expect(c, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_SGD, 0, 0);
    expect(c, NST_E_SIZE);
    c = make_call(NST_OPTIMIZER_SGD, 4, 0);
    use_every_option(c);
    c->alpha[2] = -1;
    expect(c, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_SGD, 4, 0);
    use_every_option(c);
    c->plain = 1; /* which penalties are not */
    expect(c, NST_E_VALUE);
    c = make_call(NST_OPTIMIZER_SGD, 4, 0);
    use_every_option(c);
    c->order[EPOCHS * ROWS - 1] = ROWS;
    expect(c, NST_E_CURSOR);
    c = make_call(NST_OPTIMIZER_ADAM, 8, 0);
    c->run.cancel = &cancel;
    expect(c, NST_E_CANCELLED);
}

int main(void)
{
    require_isa();
    test_networks_are_those_trained_alone();
    test_errors();
    return finish("test_population");
}
