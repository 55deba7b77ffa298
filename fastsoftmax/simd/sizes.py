"""Numbers of the vector code that its callers go by, too. Nothing is imported to know them."""

REGISTER_BYTES = 64  # of AVX-512, and of a cache line: narrower machines split each vector
# Registers of neighbouring columns that are worked on at a time. Each carries its own sum, so four additions
# are in flight where one alone would wait for its predecessor. The two sums and the shift of each must stay
# in registers: more would spill.
COLUMN_REGISTERS = 4
# Classes of a row tile, at most. Of more a row fills eight registers by itself, so that vectorising along it
# wastes little; and the transposed tile, 8 KiB, must stay in the first-level cache.
MAX_CLASSES = 128
