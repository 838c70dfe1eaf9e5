"""Attacks on msakit: kills, faults, starvation, damaged and hostile files, bad command lines (`make attack`).

One module a kind of attack, each with `FAMILIES`, a list of `Family`; `__main__` runs all and prints a table.
Most attacks fork, so what they need is imported before; the short version imports no torch.
"""
