"""How a thread computes."""

import numpy as np
import torch

from dqn import arithmetic


def test_tiny_numbers_are_nought_while_it_trains_and_not_after():
    tiny = torch.full((16,), 1e-30)
    with arithmetic.kept():
        torch.set_flush_denormal(False)
        assert not arithmetic.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0
        with arithmetic.kept():
            arithmetic.set_up(2)
            assert torch.get_num_threads() == 2
            assert arithmetic.flushes_denormals()
            assert float((tiny * 1e-10).max()) == 0
            assert (np.float32(1e-30) * np.full(16, 1e-10, np.float32)).max() == 0
        assert not arithmetic.flushes_denormals()
        assert float((tiny * 1e-10).max()) > 0
