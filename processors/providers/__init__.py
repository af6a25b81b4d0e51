"""The providers: a pure module or package each. A new one is that, a line here, and samples."""

from processors.providers import smsmanager, whapi
from processors.providers.base import Split

PROVIDERS: dict[str, Split] = {
    smsmanager.PROVIDER: smsmanager.split,
    whapi.PROVIDER: whapi.split,
}
