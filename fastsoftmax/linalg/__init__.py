"""Linear algebra beside the passes: arithmetic on long vectors, and Cholesky factors."""
