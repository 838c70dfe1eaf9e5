"""Attacks on msakit: kills, faults, starvation, damaged and hostile files, bad command lines (`make attack`).

One module a kind of attack, each with `FAMILIES`, a list of `Family`; `__main__` runs all and prints a table.
Nothing here imports torch: most attacks fork.
"""
