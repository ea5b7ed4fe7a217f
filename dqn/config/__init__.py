"""Configurations: composed with Hydra, checked and built."""
