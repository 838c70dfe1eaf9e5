"""Attacks on msakit: kills, faults, starvation, damaged and hostile files, bad command lines (`make attack`).

One module a kind of attack. Each has `FAMILIES`, a list of `Family`; `__main__` runs all and prints one table.
Nothing here imports torch: most attacks fork.
"""
