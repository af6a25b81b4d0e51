"""The providers: a package each. A new one is that, a line here, and samples."""

from providers.contract import Split
from providers.smsmanager import parser as smsmanager
from providers.whapi import parser as whapi

PROVIDERS: dict[str, Split] = {
    smsmanager.PROVIDER: smsmanager.split,
    whapi.PROVIDER: whapi.split,
}
