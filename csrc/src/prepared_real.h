/* Included by prepared.h once for each precision. */

/* Memory of a prepared network, for optimisers of any number of slots. */
NST_API nst_status NST(prepared_size)(const nst_architecture *net, size_t *bytes);

/* Prepare `memory`. The architecture must live as long. */
NST_API nst_status NST(prepared_open)(const nst_architecture *net, void *memory, size_t bytes, nst_prepared **prepared);

/* One update from all n samples, as by one step of nst_*_train with a batch of n on one thread: the same bits. With ignore_nan, targets that are NaN count for
 * nothing. The slots
 * of the last call are kept in packed form, and `slots` is out of date until nst_*_prepared_store. *value is the loss
 * before the update. */
NST_API nst_status NST(prepared_update)(nst_prepared *prepared, REAL *theta__p, size_t slot_count, REAL *slots__sp,
                                        const nst_optimizer *optimizer, uint64_t updates, size_t n, const REAL *x__ni,
                                        const REAL *y__no, const int64_t *labels__n, const REAL *weight__n,
                                        int32_t ignore_nan, double *value, int32_t *isa);

/* Write the slots that are kept, if any, to where they came from, and keep them no longer. */
NST_API nst_status NST(prepared_store)(nst_prepared *prepared);

/* As nst_*_predict, nst_*_loss, nst_*_gradient. *tape identifies the activations of this forward pass, for
 * nst_*_prepared_vjp; 0 if they are not kept. */
NST_API nst_status NST(prepared_predict)(nst_prepared *prepared, const REAL *theta__p, size_t n, const REAL *x__ni,
                                         REAL *a__no, uint64_t *tape);
NST_API nst_status NST(prepared_loss)(nst_prepared *prepared, const REAL *theta__p, size_t n, const REAL *x__ni,
                                      const REAL *y__no, const int64_t *labels__n, double *value);
NST_API nst_status NST(prepared_gradient)(nst_prepared *prepared, const REAL *theta__p, size_t n, const REAL *x__ni,
                                          const REAL *y__no, const int64_t *labels__n, REAL *grad__p, double *value);

/* As nst_*_vjp. The forward pass is left out if its activations are still there: those of `tape`, from the same x. */
NST_API nst_status NST(prepared_vjp)(nst_prepared *prepared, const REAL *theta__p, size_t n, const REAL *x__ni,
                                     const REAL *dout__no, int32_t of_z, uint64_t tape, REAL *grad__p, REAL *dx__ni);
