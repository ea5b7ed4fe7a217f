"""A report on runs: what they reached, with intervals, as a page, pictures and tables. Needs dqn[report]."""
