"""Configuration files of other tools, read into the words of the rules. See :mod:`.together` for where to begin."""
