"""``python -m lumigraph.cli`` is the ``lumigraph`` command."""

import sys

from .command import main

sys.exit(main())
