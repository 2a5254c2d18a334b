"""Errors that are told to people in one line."""


class BadInput(Exception):
    """The user's input is the reason; the message says which file, what and what to do, in one line."""
