"""The one kind of error that users see: a line, or several, in their words. The commands print it and exit with 1."""


class WeftError(Exception):
    """What is wrong and how to mend it, one line each. Raised anywhere, printed by `weft.cli.main`, never with a traceback."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
