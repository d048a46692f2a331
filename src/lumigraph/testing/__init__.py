"""Checks that users run on their own models: which symmetries they have, and to which precision."""

from .check import check_symmetry
from .symmetries import SYMMETRIES
from .symmetry_report import SymmetryCheck, SymmetryReport

__all__ = ["SYMMETRIES", "SymmetryCheck", "SymmetryReport", "check_symmetry"]
