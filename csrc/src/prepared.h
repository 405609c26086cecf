/* A prepared network: calls on a few rows, one after the other, for the extension module. It is not part of the public
 * interface.
 *
 * A call of nst_*_train lays out the workspace, packs theta and slots, and unpacks them again, which takes as long as an
 * update from 32 rows. A prepared network keeps the layout and the packed form. Theta is exact after every call; it is
 * compared with what the packed form was made from, and packed again if anyone has written to it. Slots are kept until
 * they are stored or others are given. If the instruction set changes between calls, everything is laid out anew.
 *
 * Arguments are not checked, but for null and sizes at the opening. One call at a time. */
#ifndef NST_PREPARED_H
#define NST_PREPARED_H

#include "nanostep.h"

typedef struct nst_prepared nst_prepared;

#define REAL      float
#define NST(name) nst_f32_##name
#include "prepared_real.h"
#undef NST
#undef REAL

#define REAL      double
#define NST(name) nst_f64_##name
#include "prepared_real.h"
#undef NST
#undef REAL

#endif
