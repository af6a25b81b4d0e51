"""The code of each processor that `schemas/processors.py` lists."""

from importlib import import_module

from processors.runtime.group_worker import MakeMember
from schemas.processors import Processor


def member(processor: Processor) -> MakeMember:
    """Import what makes the processor's member."""
    module, _, name = processor.code.partition(":")
    found: MakeMember = getattr(import_module(module), name)
    return found
