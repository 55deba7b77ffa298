"""How fast, measured how: problems × contenders on pytest-benchmark. See README.md beside this file."""
