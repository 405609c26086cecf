"""Files: models in safetensors format, tables in CSV format."""

from nanostep.io.networks import load, read_metadata, save

__all__ = ["load", "read_metadata", "save"]
