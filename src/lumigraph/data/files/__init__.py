"""Event files: formats, and the columns read from and written to them."""
