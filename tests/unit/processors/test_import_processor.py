"""Every processor in the list has code that a group worker can run."""

import pytest

from processors.import_processor import member
from processors.runtime.group_worker import Member
from schemas.processor_list import PROCESSORS, Processor


@pytest.mark.parametrize("one", PROCESSORS, ids=lambda one: one.name)
def test_an_entry_names_a_member(one: Processor) -> None:
    made = member(one)
    assert isinstance(made, type)
    assert Member in made.__mro__
