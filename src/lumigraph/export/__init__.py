"""Models as files for production: ONNX, and the files of torch.export.

See `lumigraph.Model.export`.
"""

from .exporting import Exported, export_model
from .interface import Form

__all__ = ["Exported", "Form", "export_model"]
