"""Ctrl-C becomes one sentence."""

import pytest
import typer

from cli.interrupt import Interrupted, interruptible


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_has_a_sentence(error: type[BaseException]) -> None:
    """With nested sentences, the innermost one is printed."""
    with pytest.raises(Interrupted) as found, interruptible(), interruptible("the inner one"):
        raise error
    assert str(found.value) == "the inner one"
    with pytest.raises(Interrupted) as found, interruptible():
        raise error
    assert str(found.value) == "stopped"
