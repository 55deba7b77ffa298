"""Numbers that kernels and what calls them have to agree on."""

# Rows of a Gram matrix that are computed at a time. Above the diagonal only a triangle of each panel is
# computed in vain, so a narrow panel saves flops; a wide one is a better shape for BLAS.
GRAM_PANEL = 128
# Rows and columns of a block of long columns: 128 KiB of float32, which stay in cache between its maxima and
# its sums, as does the next block, which is prefetched. Fewer rows would rescale the sums more often.
BLOCK_ROWS, COLUMN_PANEL = 32, 1024
# Rows and columns of a product that one thread computes at a time where threads share a gradient: its float64
# sum, 512 KiB, fits a second-level cache; pieces ten times as large would be fewer than the threads.
PIECE = 256
LONG_PIECE = 128  # the same, of products that sum over all classes: smaller pieces keep every thread busy
# Newton steps for the shift of the intercepts of a dual point. Each costs a pass where logits are not kept;
# from near the optimum they converge quadratically, and from far off more of them do not help.
MAX_SHIFT_STEPS = 8
# A mixture with so small a θ changes the bound by less than float64 resolves.
NEGLIGIBLE = 1e-13
