"""A trained policy for others: as a function of observations, or exported as a file."""
