"""Contents of a file, and a schema suggested for it."""

from .file_report import CollectionReport, ColumnReport, FileReport, inspect_file

__all__ = ["CollectionReport", "ColumnReport", "FileReport", "inspect_file"]
