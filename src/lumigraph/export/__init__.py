"""Models as files for production: ONNX and torch.export.

See `lumigraph.Model.export`.
"""

from .exporting import Exported, export_model

__all__ = ["Exported", "export_model"]
