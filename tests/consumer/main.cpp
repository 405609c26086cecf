// The same program, compiled as C++.
#include "main.c"
