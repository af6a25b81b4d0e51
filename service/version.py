"""The version of Bluetick."""

__version__ = "0.1.0.dev0"
