"""`bluetick quality`: the figures of delivery quality."""

import sys

from cli.options import Json, QualityOf, spread


@spread
def quality(*, wanted: QualityOf, json: Json = False) -> None:
    """Show delivered and failed shares, times and cost, providers side by side.

    Times are those of events: a message counts when its first attempt began.
    """
    from cli.quality.show import show
    from service.settings import load

    sys.exit(show(load(), wanted, json=json))
