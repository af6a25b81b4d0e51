"""The form of a request, as our pages send it: `application/x-www-form-urlencoded`."""

from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.requests import Request


async def form_of(request: Request) -> FormData:
    """Return the fields of a form; the guard has bounded its size."""
    text = (await request.body()).decode("utf-8", "replace")
    return FormData([*parse_qsl(text, keep_blank_values=True)])
