"""The code of each processor that `schemas/processor_list.py` lists."""

from importlib import import_module

from processors.runtime.group_worker import MakeMember
from schemas.processor_list import Processor


def member(processor: Processor) -> MakeMember:
    """Import what makes the processor's member."""
    module, _, name = processor.code.partition(":")
    found: MakeMember = getattr(import_module(module), name)
    return found
