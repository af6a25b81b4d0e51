"""The version of Bluetick, for people and packages."""

__version__ = "0.1.0"
