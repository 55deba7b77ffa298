"""Numbers of the kernels on long vectors that tests go by, too."""

BLOCK = 2**10  # elements of one vector (8 KiB) that stay in the first-level cache while the rows pass
