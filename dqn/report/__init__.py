"""Reports on runs: scores and curves with intervals, as a page, pictures and tables. Needs dqn[report]."""
