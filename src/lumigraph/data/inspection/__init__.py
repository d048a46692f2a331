"""What a file holds, and what could be made of it."""

from .file_report import CollectionReport, ColumnReport, FileReport, inspect_file

__all__ = ["CollectionReport", "ColumnReport", "FileReport", "inspect_file"]
