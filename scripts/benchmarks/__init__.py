"""What training costs, beside other libraries and beside what it could cost; scripts/benchmark.py runs it."""
