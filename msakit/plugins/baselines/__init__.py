"""Baselines that a fusion method has to beat: text alone, a learned prompt, the classical fusers."""
