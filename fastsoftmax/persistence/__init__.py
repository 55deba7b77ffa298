"""Files that are replaced atomically: arrays with a JSON header, and checkpoints. Knows no estimator."""
