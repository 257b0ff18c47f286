"""Measurements (``./dev bench``) and long proofs (``./dev check-long``). Nothing here asserts how fast something is."""
