"""Pieces of kernels in LLVM's vector language: row tiles, skinny products, exponentials, half precision."""
