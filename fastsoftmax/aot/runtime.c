/* What Numba's kernels ask of its runtime, of which libraries of compiled kernels
 * have nothing else: memory for temporary arrays, its release, and reshaping.
 *
 * The layout of a block's head is that of Numba's MemInfo as far as compiled code
 * looks at it: the count of references comes first, the address of the data is the
 * fourth word. Nobody else frees these blocks, so the other words are not used. */

#include <stdint.h>
#include <stdlib.h>

/* The logarithm and the exponential that glibc has had from the start: linked by
 * their newer names, which differ in how errors are reported, a library would not
 * load before glibc 2.29. The linker's option --wrap brings every call here. */
#if defined(__x86_64__) && defined(__GLIBC__)
double log_of_glibc(double);
double exp_of_glibc(double);
__asm__(".symver log_of_glibc, log@GLIBC_2.2.5");
__asm__(".symver exp_of_glibc, exp@GLIBC_2.2.5");
#else
double __real_log(double);
double __real_exp(double);
#define log_of_glibc __real_log
#define exp_of_glibc __real_exp
#endif

__attribute__((visibility("hidden"))) double __wrap_log(double x)
{
    return log_of_glibc(x);
}

__attribute__((visibility("hidden"))) double __wrap_exp(double x)
{
    return exp_of_glibc(x);
}

typedef struct {
    int64_t references;
    void *destructor;
    void *destructor_info;
    void *data;
    int64_t size;
    void *allocator;
} Block;

/* Returns a block with `size` bytes at a multiple of `align`, a power of two, or NULL. */
__attribute__((visibility("hidden"))) Block *NRT_MemInfo_alloc_aligned(int64_t size, uint32_t align)
{
    Block *block = malloc(sizeof *block + align + (size_t)size);
    if (block == NULL)
        return NULL;
    uintptr_t behind = (uintptr_t)(block + 1);
    block->references = 1;
    block->destructor = NULL;
    block->destructor_info = NULL;
    block->data = (void *)((behind + align - 1) & ~(uintptr_t)(align - 1));
    block->size = size;
    block->allocator = NULL;
    return block;
}

/* Called as the last reference to a block is given up. */
__attribute__((visibility("hidden"))) void NRT_MemInfo_call_dtor(Block *block)
{
    free(block);
}

/* Writes the strides of a C-ordered array in another shape of as many elements and
 * returns 1; returns 0, as Numba's function of this name, for any other order. */
__attribute__((visibility("hidden"))) int numba_attempt_nocopy_reshape(
    int64_t dimensions, const int64_t *shape, const int64_t *strides, int64_t new_dimensions,
    const int64_t *new_shape, int64_t *new_strides, int64_t item_size, int is_f_order)
{
    int64_t step = item_size;
    for (int64_t i = dimensions - 1; i >= 0; i--) {
        if (shape[i] > 1 && strides[i] != step)
            return 0;
        step *= shape[i] > 1 ? shape[i] : 1;
    }
    if (is_f_order)
        return 0;
    step = item_size;
    for (int64_t i = new_dimensions - 1; i >= 0; i--) {
        new_strides[i] = step;
        step *= new_shape[i] > 1 ? new_shape[i] : 1;
    }
    return 1;
}
