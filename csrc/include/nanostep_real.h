/* Prototypes in one precision: nanostep.h includes this file once for each precision, with REAL and NST(name)
 * defined. */

/* -- Operations ---------------------------------------------------------------------------------------------------- */

/* a = f(z); softmax by row. a may be z. */
NST_API nst_status NST(activate)(nst_activation activation, size_t rows, size_t width, const REAL *z__bo, REAL *a__bo);

/* df = f'(z), computed from a = f(z) where that suffices (all but silu). Not for softmax. */
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

/* value = mean over the rows of L(a, y), rows >= 1. Computed from z where loss and output are joined: cross-entropy
 * with softmax, binary cross-entropy with sigmoid. options: as in nst_architecture. */
NST_API nst_status NST(loss_value)(nst_loss loss, const nst_loss_options *options, nst_activation output, size_t rows,
                                   size_t width, const REAL *z__bo, const REAL *a__bo, const REAL *y__bo,
                                   double *value);

/* da = dL/da of each sample */
NST_API nst_status NST(loss_derivative)(nst_loss loss, const nst_loss_options *options, size_t rows, size_t width,
                                        const REAL *a__bo, const REAL *y__bo, REAL *da__bo);

/* d = dL/dz of each sample: a - y (over the width where the loss is a mean) for joined pairs, otherwise dL/da f'(z) */
NST_API nst_status NST(output_delta)(nst_loss loss, const nst_loss_options *options, nst_activation output, size_t rows,
                                     size_t width, const REAL *z__bo, const REAL *a__bo, const REAL *y__bo,
                                     REAL *d__bo);

/* Update number t (counted from 1) of theta and slots (slot_count x n, row-major) with gradient grad */
NST_API nst_status NST(update)(const nst_optimizer *optimizer, uint64_t t, size_t n, REAL *theta__p,
                               const REAL *grad__p, size_t slot_count, REAL *slots__sp);

/* The same with the change of theta multiplied by scale, >= 0 (a learning rate of each parameter). Where scale is 0,
 * theta and slots stay as they are, and grad counts as 0 in the norm that is clipped. */
NST_API nst_status NST(apply)(const nst_optimizer *optimizer, uint64_t t, size_t n, REAL *theta__p, const REAL *grad__p,
                              size_t slot_count, REAL *slots__sp, const REAL *scale__p);

/* -- Whole networks ------------------------------------------------------------------------------------------------ */

/* Bytes of workspace that train needs, and with slot_count 0 predict, loss, gradient, jacobian and vjp. Does not depend
 * on n. */
NST_API nst_status NST(workspace_size)(const nst_architecture *net, size_t slot_count, size_t *bytes);

/* a = the network's output for each of n rows; n may be 0 */
NST_API nst_status NST(predict)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                REAL *a__no, void *workspace, size_t bytes);

/* One sample at a time, for online use. A row is opened once for a network, in memory that the caller provides and
 * frees after the last use; there is nothing to close. It serves one call at a time and works on theta in place,
 * neither copying nor packing it. */

/* Bytes of memory that a row needs. */
NST_API nst_status NST(row_size)(const nst_architecture *net, size_t *bytes);

/* Open a row. The architecture is copied. */
NST_API nst_status NST(row_open)(const nst_architecture *net, void *memory, size_t bytes, nst_row **row);

/* a = the network's output for one sample. NST_E_VALUE if x is not finite. */
NST_API nst_status NST(predict_row)(nst_row *row, const REAL *theta__p, const REAL *x__i, REAL *a__o);

/* theta -= lr * gradient of L(x, y); value = L before it. NST_E_VALUE if x or y is not finite, y is not a valid target
 * of the loss, x or y overlaps theta, or lr is not finite and > 0. */
NST_API nst_status NST(step_row)(nst_row *row, REAL *theta__p, const REAL *x__i, const REAL *y__o, double lr,
                                 double *value);

/* value = mean of weight * L over n >= 1 samples. Targets are y__no, or class labels labels__n that stand for one-hot
 * rows; the other pointer is null. weight__n may be of any sign; null stands for 1. */
NST_API nst_status NST(loss)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                             const REAL *y__no, const int64_t *labels__n, const REAL *weight__n, void *workspace,
                             size_t bytes, double *value);

/* The same, and grad = the gradient of that mean, laid out as theta. After NST_E_LABEL grad is undefined. */
NST_API nst_status NST(gradient)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                 const REAL *y__no, const int64_t *labels__n, const REAL *weight__n, void *workspace,
                                 size_t bytes, REAL *grad__p, double *value);

/* a = the network's output for each of n rows, and jac = its derivative with respect to each parameter (n x outputs x
 * parameters); n may be 0. NST_E_ACTIVATION if the output is softmax. */
NST_API nst_status NST(jacobian)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                                 void *workspace, size_t bytes, REAL *a__no, REAL *jac__nop);

/* For losses of the caller's own: pull dout__no = dL/da of the outputs, or if of_z is 1 dL/dz of the last layer, back
 * through the network at x. grad = dL/dtheta, the sum over the rows; dx = dL/dx; either may be null. The outputs are
 * those of nst_*_predict. n may be 0. */
NST_API nst_status NST(vjp)(const nst_architecture *net, const REAL *theta__p, size_t n, const REAL *x__ni,
                            const REAL *dout__no, int32_t of_z, void *workspace, size_t bytes, REAL *grad__p,
                            REAL *dx__ni);

/* plan = the kernels that nst_*_train would choose for batches of run->batch, with as many threads as run and pool
 * allow. wide__l, one entry per layer: 1 if its weights do not fit into L1, so that threads divide it by neurons and
 * not by rows. */
NST_API nst_status NST(choose)(const nst_architecture *net, size_t n, const nst_optimizer *optimizer,
                               const nst_run *run, nst_plan *plan, int32_t *wide__l);

/* Make `steps` updates of theta and slots, starting at the cursor. The mean loss of each epoch that ends is written to
 * epoch_loss, in order, and its mean penalty to epoch_penalty unless that is null; both need room for
 * steps / ceil(n / batch) + 1 entries, of which *ended are written. After NST_E_LABEL or NST_E_CURSOR theta, slots and
 * cursor are those of the last whole update. */
NST_API nst_status NST(train)(const nst_architecture *net, REAL *theta__p, size_t slot_count, REAL *slots__sp, size_t n,
                              const REAL *x__ni, const REAL *y__no, const int64_t *labels__n, const REAL *weight__n,
                              const nst_optimizer *optimizer, const nst_run *run, nst_cursor *cursor, size_t steps,
                              double *epoch_loss__e, double *epoch_penalty__e, size_t *ended, void *workspace,
                              size_t bytes);

/* -- Populations --------------------------------------------------------------------------------------------------- */

/* Bytes of workspace that nst_*_population_train needs. */
NST_API nst_status NST(population_workspace_size)(const nst_architecture *net, size_t slot_count, const nst_run *run,
                                                  size_t n, size_t epochs, size_t *bytes);

/* Train `count` of the `networks` networks of a population for `epochs` whole epochs. All have the same architecture;
 * row m of theta and of slots belongs to network m. All start at epoch number `epoch`, after `updates` updates.
 * index__k: the networks to train, each at most once.
 * Samples: all_rows rows of x with y or labels. Network m uses the n rows rows[m], or all of them if rows is null (then
 * n = all_rows). weight[m], unless null, has the weights of these n samples.
 * order__en: the order of the samples if run->custom_order is 1: a permutation of 0..n-1 for each epoch.
 * slot_count: includes momentum if any network of the population has momentum != 0.
 * Rates: run->rates, unless null, are the learning rates of the call's steps for all networks; rates__ks, unless null,
 * those of each network.
 * alpha__m, unless null: an L2 penalty per network (see nst_run.alpha, which must be 0). run->dropout must be null.
 * plain: 1 if every network of the population, trained by this call or not, is updated by theta -= lr * gradient
 * without weights, penalty, scale or log_clip_min. Batches of one are then made as single samples. Since plain is a
 * property of the population, the bits of a network do not depend on which networks are trained with it.
 * Results: the mean loss of each epoch goes to loss__ke, the mean penalty to penalty__ke unless that is null. If the
 * status is not NST_OK, networks with done = 0 are unchanged and those with done = 1 are complete. NST_E_LOSS for
 * binary cross-entropy with softmax. */
NST_API nst_status NST(population_train)(const nst_architecture *net, size_t networks, size_t count,
                                         const int64_t *index__k, REAL *theta__mp, size_t slot_count, REAL *slots__msp,
                                         size_t n, size_t all_rows, const REAL *x__ri, const REAL *y__ro,
                                         const int64_t *labels__r, const int64_t *rows__mn, const REAL *weight__mn,
                                         const int64_t *order__en, const nst_optimizers *optimizers,
                                         const double *rates__ks, const double *alpha__m, int32_t plain,
                                         const nst_run *run, uint64_t epoch, uint64_t updates, size_t epochs,
                                         double *loss__ke, double *penalty__ke, uint8_t *done__k, int32_t *isa,
                                         int32_t *threads, void *workspace, size_t bytes);

/* Bytes of workspace that the next two functions need with this pool, which may be null. */
NST_API nst_status NST(population_evaluation_size)(const nst_architecture *net, const nst_pool *pool, size_t *bytes);

/* a = the outputs of `count` networks of a population, each for n rows; networks, index, theta, all_rows, x and rows
 * are as above. At most `threads` threads of the pool are used; 0: the library chooses. The bits of a network do not
 * depend on the other networks of the call. n may be 0. */
NST_API nst_status NST(population_predict)(const nst_architecture *net, size_t networks, size_t count,
                                           const int64_t *index__k, const REAL *theta__mp, size_t n, size_t all_rows,
                                           const REAL *x__ri, const int64_t *rows__mn, REAL *a__kno, nst_pool *pool,
                                           int32_t threads, void *workspace, size_t bytes);

/* value__k = the mean of weight * L over n >= 1 samples of each network. All labels are checked, including those that
 * no network uses. NST_E_LOSS as above. */
NST_API nst_status NST(population_loss)(const nst_architecture *net, size_t networks, size_t count,
                                        const int64_t *index__k, const REAL *theta__mp, size_t n, size_t all_rows,
                                        const REAL *x__ri, const REAL *y__ro, const int64_t *labels__r,
                                        const int64_t *rows__mn, const REAL *weight__mn, double *value__k,
                                        nst_pool *pool, int32_t threads, void *workspace, size_t bytes);

/* value__m = the mean of weight * L over n >= 1 samples of each network, and grad__mp its gradient, by nst_*_gradient
 * for one network after another. Networks share x and y or labels, or if own is 1 each has n rows of its own, one after
 * the other; weight__mn may be null. The workspace is that of one network. */
NST_API nst_status NST(population_gradient)(const nst_architecture *net, size_t networks, const REAL *theta__mp,
                                            size_t n, int32_t own, const REAL *x, const REAL *y, const int64_t *labels,
                                            const REAL *weight__mn, void *workspace, size_t bytes, REAL *grad__mp,
                                            double *value__m);

/* nst_*_vjp for one network after another; x is shared, or each network's own if own is 1. */
NST_API nst_status NST(population_vjp)(const nst_architecture *net, size_t networks, const REAL *theta__mp, size_t n,
                                       int32_t own, const REAL *x, const REAL *dout__mno, int32_t of_z, void *workspace,
                                       size_t bytes, REAL *grad__mp, REAL *dx__mni);

/* nst_*_update, or nst_*_apply if scale is not null, for each network: its update number updates__m + 1, of n
 * parameters. All networks have slot_count slots: NST_E_OPTIMIZER if the momentum of some but not all is 0. Nothing is
 * changed before all hyper-parameters have been checked. */
NST_API nst_status NST(population_apply)(const nst_optimizers *optimizers, size_t networks, const int64_t *updates__m,
                                         size_t n, REAL *theta__mp, const REAL *grad__mp, size_t slot_count,
                                         REAL *slots__msp, const REAL *scale__mp);
