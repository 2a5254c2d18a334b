"""Imports msgspec without ``typing_extensions``, and is imported before anything else that imports msgspec.

msgspec prefers ``typing_extensions`` where it is installed, which imports ``inspect`` and costs a sixth of the time
`qltui launch` may take; where it is missing msgspec takes the same from Python's own ``typing``.
"""

import sys

if "typing_extensions" in sys.modules:
    import msgspec
else:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # "not there", in the import system's words
    try:
        import msgspec
    finally:
        del sys.modules["typing_extensions"]

__all__ = ["msgspec"]
