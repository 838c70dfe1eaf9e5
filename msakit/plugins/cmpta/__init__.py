"""CMPTA, cross-modal pseudo-token adapter (Computer Science and Application 16(1), 2026)."""
