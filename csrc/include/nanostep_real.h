/* Prototypes in one precision: included by nanostep.h once for each, with REAL and NST(name) defined. */

/* -- Operations ---------------------------------------------------------------------------------------------------- */

/* a = f(z); softmax by row. a may be z. */
NST_API nst_status NST(activate)(nst_activation activation, size_t rows, size_t width, const REAL *z__bo, REAL *a__bo);

/* df = f'(z), from a = f(z) where that is enough (all but silu). Not for softmax. */
NST_API nst_status NST(activation_derivative)(nst_activation activation, size_t rows, size_t width, const REAL *z__bo,
                                              const REAL *a__bo, REAL *df__bo);

/* z = x W^T + b */
NST_API nst_status NST(dense_forward)(size_t rows, size_t inputs, size_t outputs, const REAL *x__bi, const REAL *w__oi,
                                      const REAL *b__o, REAL *z__bo);

/* dx = d W */
NST_API nst_status NST(dense_backward_input)(size_t rows, size_t inputs, size_t outputs, const REAL *d__bo,
                                             const REAL *w__oi, REAL *dx__bi);

/* dW = d^T x / rows, db = mean of d over the rows; rows >= 1 */
NST_API nst_status NST(dense_backward_weights)(size_t rows, size_t inputs, size_t outputs, const REAL *d__bo,
                                               const REAL *x__bi, REAL *dw__oi, REAL *db__o);

/* value = mean over the rows of L(a, y), rows >= 1. From z where loss and output are joined: cross-entropy with softmax,
 * binary cross-entropy with sigmoid. */
NST_API nst_status NST(loss_value)(nst_loss loss, nst_activation output, size_t rows, size_t width, const REAL *z__bo,
                                   const REAL *a__bo, const REAL *y__bo, double *value);

/* da = dL/da of each sample */
NST_API nst_status NST(loss_derivative)(nst_loss loss, size_t rows, size_t width, const REAL *a__bo, const REAL *y__bo,
                                        REAL *da__bo);

/* d = dL/dz of each sample: a - y (over the width where the loss is a mean) for joined pairs, otherwise dL/da f'(z) */
NST_API nst_status NST(output_delta)(nst_loss loss, nst_activation output, size_t rows, size_t width, const REAL *z__bo,
                                     const REAL *a__bo, const REAL *y__bo, REAL *d__bo);

/* theta and slots (slot_count x n, row-major) after update number t (from 1) with gradient grad */
NST_API nst_status NST(update)(const nst_optimizer *optimizer, uint64_t t, size_t n, REAL *theta__p,
                               const REAL *grad__p, size_t slot_count, REAL *slots__sp);

/* -- Whole networks ------------------------------------------------------------------------------------------------ */

/* Bytes of workspace that the calls below need: predict and loss with slot_count 0. Does not depend on n. */
NST_API nst_status NST(workspace_size)(const nst_architecture *net, size_t slot_count, size_t *bytes);

/* a = the network's output for each of n rows; n may be 0 */
NST_API nst_status NST(predict)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                REAL *a__no, void *workspace, size_t bytes);

/* One sample at a time, for online use. A row is opened once for a network, in memory of the caller, who frees it when it
 * is no longer used; there is nothing to close. It serves one call at a time, on theta as it stands, which is neither
 * copied nor packed. */

/* Bytes of memory that a row lives in. */
NST_API nst_status NST(row_size)(const nst_architecture *net, size_t *bytes);

/* Open a row. The architecture is copied. */
NST_API nst_status NST(row_open)(const nst_architecture *net, void *memory, size_t bytes, nst_row **row);

/* a = the network's output for one sample. NST_E_VALUE if x is not finite. */
NST_API nst_status NST(predict_row)(nst_row *row, const REAL *theta__p, const REAL *x__i, REAL *a__o);

/* theta -= lr * gradient of L(x, y); value = L before it. NST_E_VALUE if x or y is not finite, y is not what the loss takes,
 * either overlaps theta, or lr is not finite and > 0. */
NST_API nst_status NST(step_row)(nst_row *row, REAL *theta__p, const REAL *x__i, const REAL *y__o, double lr,
                                 double *value);

/* value = mean of weight * L over n >= 1 samples. Targets are y__no, or class numbers labels__n that stand for one-hot rows;
 * the other pointer is null. weight__n, numbers >= 0, may be null for 1. */
NST_API nst_status NST(loss)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                             const REAL *y__no, const int64_t *labels__n, const REAL *weight__n, void *workspace,
                             size_t bytes, double *value);

/* The same, and grad = the gradient of that mean, laid out as theta. After NST_E_LABEL grad is not defined. */
NST_API nst_status NST(gradient)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                 const REAL *y__no, const int64_t *labels__n, const REAL *weight__n, void *workspace,
                                 size_t bytes, REAL *grad__p, double *value);

/* a = the network's output for each of n rows, and jac its derivative by each parameter (n x outputs x parameters); n may
 * be 0. NST_E_ACTIVATION if the output is softmax. */
NST_API nst_status NST(jacobian)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                 void *workspace, size_t bytes, REAL *a__no, REAL *jac__nop);

/* What nst_*_train would use for batches of plan->batch, with as many threads as plan and pool allow. wide__l, one for each
 * layer: 1 if its weights do not fit into L1, so that threads share it out by neurons and not by rows. */
NST_API nst_status NST(choose)(const nst_architecture *net, size_t n, const nst_optimizer *optimizer,
                               const nst_plan *plan, nst_choice *choice, int32_t *wide__l);

/* Make `steps` updates of theta and slots from where cursor stands. The mean loss of each epoch that ends goes into
 * epoch_loss, in order, and its mean penalty into epoch_penalty unless that is null; there must be room for
 * steps / ceil(n / batch) + 1; *ended is their number. After NST_E_LABEL or NST_E_CURSOR theta, slots and cursor are those
 * of the last whole update. */
NST_API nst_status NST(train)(const nst_architecture *net, REAL *theta__p, size_t slot_count, REAL *slots__sp, size_t n,
                              const REAL *x__ni, const REAL *y__no, const int64_t *labels__n, const REAL *weight__n,
                              const nst_optimizer *optimizer, const nst_plan *plan, nst_cursor *cursor, size_t steps,
                              double *epoch_loss__e, double *epoch_penalty__e, size_t *ended, void *workspace,
                              size_t bytes);

/* -- Populations --------------------------------------------------------------------------------------------------- */

/* Bytes of workspace that nst_*_population_train needs. */
NST_API nst_status NST(population_workspace_size)(const nst_architecture *net, size_t slot_count, const nst_plan *plan,
                                                  size_t n, size_t epochs, size_t *bytes);

/* Train `count` of `networks` networks of one architecture, whose parameters are the rows of theta and whose slots follow
 * each other in slots, for `epochs` whole epochs. who names them, each once. All stand at the start of epoch number `epoch`,
 * after `updates` updates. They use the `all_rows` samples x with y or labels: each of them all (rows null, n = all_rows),
 * or the n rows that rows[network] names; weight, unless null, says what each of the n counts to the network. order is used
 * if plan->own_order is 1: a permutation of 0..n-1 for each epoch. There is a slot for momentum if that of any network of
 * the population is not 0. alpha__m, unless null, is an L2 penalty for each (see nst_plan.alpha, which must be 0). plain is 1
 * if all networks of the population, whoever the call is for, are updated by theta -= lr * gradient without weights,
 * penalty, scale or lowest_log: batches of one then are single samples, and bits do not depend on the company of a network.
 * plan->rates are the learning rates of the call's steps for all networks; rates__ks, unless null, are those of each.
 * The mean loss of each epoch goes into loss__ke, its mean penalty into penalty__ke unless that is null. Dropout of the plan
 * must be off.
 * If the status is not NST_OK, networks with done = 0 are as they were, and those with done = 1 are complete. NST_E_LOSS
 * for binary cross-entropy of softmax. */
NST_API nst_status NST(population_train)(const nst_architecture *net, size_t networks, size_t count,
                                         const int64_t *who__k, REAL *theta__mp, size_t slot_count, REAL *slots__msp,
                                         size_t n, size_t all_rows, const REAL *x__ri, const REAL *y__ro,
                                         const int64_t *labels__r, const int64_t *rows__mn, const REAL *weight__mn,
                                         const int64_t *order__en, const nst_optimizers *optimizers,
                                         const double *rates__ks, const double *alpha__m, int32_t plain,
                                         const nst_plan *plan, uint64_t epoch, uint64_t updates, size_t epochs,
                                         double *loss__ke, double *penalty__ke, uint8_t *done__k, int32_t *isa,
                                         int32_t *threads, void *workspace, size_t bytes);

/* Bytes of workspace that the next two need with this pool, which may be null. */
NST_API nst_status NST(population_evaluation_size)(const nst_architecture *net, const nst_pool *pool, size_t *bytes);

/* a = the outputs of `count` networks of a population, each for n rows: networks, who, theta, all_rows, x and rows are as
 * above. At most `threads` threads of the pool are used; 0: the library chooses. Bits do not depend on the company of a
 * network. n may be 0. */
NST_API nst_status NST(population_predict)(const nst_architecture *net, size_t networks, size_t count,
                                           const int64_t *who__k, const REAL *theta__mp, size_t n, size_t all_rows,
                                           const REAL *x__ri, const int64_t *rows__mn, REAL *a__kno, nst_pool *pool,
                                           int32_t threads, void *workspace, size_t bytes);

/* value__k = the mean of weight * L over n >= 1 samples of each network. All labels are checked, also those that no network
 * uses. NST_E_LOSS as above. */
NST_API nst_status NST(population_loss)(const nst_architecture *net, size_t networks, size_t count,
                                        const int64_t *who__k, const REAL *theta__mp, size_t n, size_t all_rows,
                                        const REAL *x__ri, const REAL *y__ro, const int64_t *labels__r,
                                        const int64_t *rows__mn, const REAL *weight__mn, double *value__k,
                                        nst_pool *pool, int32_t threads, void *workspace, size_t bytes);
