"""How a process computes."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from dqn import process


def test_tiny_numbers_are_nought_while_it_trains_and_not_after():
    tiny = torch.full((16,), 1e-30)
    with process.preserve_settings():
        torch.set_flush_denormal(False)
        assert not process.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0
        with process.preserve_settings():
            process.configure_process(2)
            assert torch.get_num_threads() == 2
            assert process.flushes_denormals()
            assert float((tiny * 1e-10).max()) == 0
            assert (np.float32(1e-30) * np.full(16, 1e-10, np.float32)).max() == 0
        assert not process.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0


FAULTS = """
import resource, torch
from dqn import process
process.configure_process(1)
for _ in range(160):
    torch.ones(2**22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library is told to keep memory")
def test_freed_memory_is_used_again():
    """160 times 16 MiB are 655,000 pages, which would all be met anew; what is kept has settled soon."""
    # of larger ones an older library would keep none
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000


PILES = """
from dqn import process
process.configure_process(1)
process.MOST_KEPT = 2**26
trimmer = process.MallocTrimmer()
pieces = [b"x" * 2**16 for _ in range(3200)]
pieces = pieces[::8]
late = process.MallocTrimmer()
before = process.resident()
late.trim()
print(before - process.resident())
trimmer.trim()
print(before - process.resident())
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library is told to keep memory")
def test_memory_that_piles_up_between_what_is_in_use_is_given_back():
    """An eighth of 200 MiB stays in use, so nothing can go but what lies between."""
    done = subprocess.run([sys.executable, "-c", PILES], capture_output=True, text=True, check=True)
    kept, given = map(int, done.stdout.split())
    assert kept < 2**22
    assert given > 150 * 2**20
