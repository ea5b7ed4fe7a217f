"""Reports on runs: scores and learning curves with intervals, as a page, pictures and tables. Needs dqn[report]."""
