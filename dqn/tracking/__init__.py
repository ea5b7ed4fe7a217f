"""Output of a run for people: metrics, TensorBoard events and a progress bar."""
