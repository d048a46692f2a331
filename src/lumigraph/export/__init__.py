"""Models as files for production: ONNX, and the files of torch.export.

See `lumigraph.Model.export`.
"""

from .exporting import Exported, export_model

__all__ = ["Exported", "export_model"]
