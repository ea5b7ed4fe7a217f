"""The parts of scripts/benchmark.py, which measures the cost of training."""
