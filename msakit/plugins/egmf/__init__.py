"""EGMF, expert-guided multimodal fusion (Qiao, Xu, Li and Liu, arXiv 2601.07565)."""
