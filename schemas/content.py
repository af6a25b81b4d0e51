"""The known fields of `content`, for the published schemas: records hold it as a plain mapping."""

from typing import Any

from msgspec import Struct


class Contact(Struct, omit_defaults=True, kw_only=True):
    """One person of a contact card."""

    name: str | None = None
    numbers: list[str] = []


class Content(Struct, omit_defaults=True, kw_only=True):
    """What a person wrote or sent: texts and the description of a medium, not the medium itself."""

    type: str
    text: str | None = None
    caption: str | None = None
    title: str | None = None
    description: str | None = None
    name: str | None = None
    address: str | None = None
    mime_type: str | None = None
    filename: str | None = None
    link: str | None = None
    url: str | None = None
    options: list[str] = []
    latitude: float | None = None
    longitude: float | None = None
    choice: str | None = None
    contacts: list[Contact] = []


OPEN: dict[str, type[Any]] = {"content": Content}
"""The fields that are mappings in the records, and the type that describes them."""
