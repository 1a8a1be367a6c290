"""For every test."""

from hypothesis import settings

settings.register_profile("weft", deadline=None)  # no test fails on a clock
settings.load_profile("weft")
