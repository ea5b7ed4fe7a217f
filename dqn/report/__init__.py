"""Reports on runs: scores and curves with intervals, as pages, pictures and tables."""
