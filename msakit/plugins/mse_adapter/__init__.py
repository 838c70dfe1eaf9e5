"""MSE-Adapter (Yang, Dong and Qiang, AAAI 2025, arXiv 2502.12478)."""
