"""What holds for every test: Hypothesis without a time limit, and the same random numbers each time."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("lumigraph", deadline=None, max_examples=50)
settings.load_profile("lumigraph")


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed torch before each test."""
    torch.manual_seed(0)
    return 0
