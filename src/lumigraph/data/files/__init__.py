"""Event files: formats, columns that go in and out."""
