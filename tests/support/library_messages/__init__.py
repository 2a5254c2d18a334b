"""What libraries raise and print, in the words of their sources, with the causes it stands for; a table an area.

``RAISED``: (cause, exception, message); ``IN_CALLS``: the same with the newest call; ``PRINTED``: (cause, text).
``SURVIVED`` and ``HEALTHY`` are of runs that went on.
"""
