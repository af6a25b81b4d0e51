"""How many examples hypothesis tries: a few, always the same ones, or many random ones.

`./bluetick test --hypothesis-profile thorough` tries the many, and `.ci/run` does.
"""

from hypothesis import settings

# No deadlines: the time of an example depends on the load of the machine, not on the code.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("quick")  # the option, if given, replaces it before tests are imported


def examples(factor: float) -> settings:
    """Return the settings of a test that needs `factor` times as many examples as others."""
    return settings(max_examples=round(factor * settings().max_examples))
