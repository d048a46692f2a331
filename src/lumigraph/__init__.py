"""lumigraph: the particles of an event are the nodes of a graph."""

__version__ = "0.1.0"
