"""Checks that users run on their own models: which symmetries they have, and to which precision."""

from .check import check_symmetry
from .report import SymmetryCheck, SymmetryReport
from .symmetries import SYMMETRIES

__all__ = ["SYMMETRIES", "SymmetryCheck", "SymmetryReport", "check_symmetry"]
