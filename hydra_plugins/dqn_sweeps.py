"""Launchers and sweepers of this package; they are here because Hydra accepts no plugins from elsewhere."""

from dqn.sweep import launcher, ray, slurm, sweeper
from dqn.sweep.search import sweeper as search


class Processes(launcher.Processes):
    __doc__ = launcher.Processes.__doc__


class Slurm(slurm.Slurm):
    __doc__ = slurm.Slurm.__doc__


class Ray(ray.Ray):
    __doc__ = ray.Ray.__doc__


class GridSweeper(sweeper.GridSweeper):
    __doc__ = sweeper.GridSweeper.__doc__


class SearchSweeper(search.SearchSweeper):
    __doc__ = search.SearchSweeper.__doc__
