"""What a run writes for people: metrics, TensorBoard events and a progress bar."""
