"""What a fusion method has to beat: text alone, a learned prompt, and the classical fusers."""
