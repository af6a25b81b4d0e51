"""The providers: a package each, and one line in this list (docs/adding-a-provider.md).

The list holds names only: a service imports the parts of a provider that it uses, by
`providers.import_provider`. The models of the parsers alone take about 0.1 s to import.
"""

NAMES = (
    "smsmanager",
    "whapi",
)
