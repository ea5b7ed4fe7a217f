"""What Hydra finds by the name of this package: it takes plugins from nowhere else. The code is in dqn."""

from dqn.sweep import launcher, sweeper
from dqn.sweep.search import sweeper as search


class Processes(launcher.Processes):
    __doc__ = launcher.Processes.__doc__


class Slurm(launcher.Slurm):
    __doc__ = launcher.Slurm.__doc__


class Ray(launcher.Ray):
    __doc__ = launcher.Ray.__doc__


class Grid(sweeper.Grid):
    __doc__ = sweeper.Grid.__doc__


class Search(search.Search):
    __doc__ = search.Search.__doc__
