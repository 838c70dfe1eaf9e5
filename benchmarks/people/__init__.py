"""What benchmarks/people.py is made of: corpora, classical systems, and the table of results."""
