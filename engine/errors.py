"""Errors that are told to people in one line."""


class BadInput(Exception):
    """The user's input is the reason; the message says which file, what and what to do, in one line."""


EXIT_BAD_INPUT = 3
"""Exit code of a rank and its launcher when the user's input is the reason."""
