"""Configuration: composed by Hydra, checked, built. The only place that knows Hydra and OmegaConf."""
