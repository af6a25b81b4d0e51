"""The providers: one pure file each. A new one is its file, a line here, and its samples."""

from processors.providers import smsmanager, whapi
from processors.providers.base import Split

PROVIDERS: dict[str, Split] = {
    smsmanager.PROVIDER: smsmanager.split,
    whapi.PROVIDER: whapi.split,
}
