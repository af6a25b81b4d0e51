"""SVG elements as escaped markup. Pure.

No element has a `style` attribute: the pages' Content-Security-Policy refuses it. Colours are
classes of the style sheet, so a chart follows light and dark.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

Number = float | int
Form = Literal["hour", "minute", "moment"]
"""How a time is written: an hour, hours and minutes, or day and time to the second."""

_FORMS: dict[Form, str] = {"hour": "%H", "minute": "%H:%M", "moment": "%d %b %H:%M:%S"}


class Box(NamedTuple):
    """A rectangle in the units of the drawing."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; a child that is no `Markup` is text, and is escaped.

    `class_` is `class`, and `_` in a name is `-`. An attribute that is None is left out.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(map(escape, children))
    tag = Markup(name)  # noqa: S704 - a name in this package's code
    return Markup("<{0}{1}>{2}</{0}>").format(tag, given, inner)


def drawing(
    width: Number, height: Number, label: str, *children: object, class_: str, links: bool = False
) -> Markup:
    """Return a whole drawing; `label` is its text for a screen reader.

    With `links` inside it is a group of elements, not one image.
    """
    return element(
        "svg",
        *children,
        class_=f"chart {class_}",
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        role="group" if links else "img",
        aria_label=label,
    )


def words(x: Number, y: Number, text: object, class_: str) -> Markup:
    """Return a text at a place."""
    return element("text", text, x=x, y=y, class_=class_)


def clock(x: Number, y: Number, at: int, form: Form, class_: str) -> Markup:
    """Return a time (Unix ms) in UTC; the page's script writes it in the viewer's zone."""
    text = datetime.fromtimestamp(at / 1000, UTC).strftime(_FORMS[form])
    return element("text", text, x=x, y=y, class_=class_, data_at=at, data_form=form)


def path(points: Iterable[tuple[Number, Number]], class_: str) -> Markup:
    """Return a line through the points."""
    places = " ".join(f"{_value(x)},{_value(y)}" for x, y in points)
    return element("polyline", points=places, class_=class_)


def _value(value: object) -> object:
    """Return a number with at most one decimal, and anything else as it is."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
