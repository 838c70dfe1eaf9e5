"""Attacks on msakit: kills, faults, starvation, damaged and hostile files, bad command lines (`make attack`).

One module a family of attacks. Each has `FAMILIES`, a list of `Family`; `__main__` runs them and prints one table.
"""
