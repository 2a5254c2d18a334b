"""Whether the hub answers, asked once and briefly: its libraries try for most of a minute before they say no."""

from __future__ import annotations

import huggingface_hub
from huggingface_hub import constants

from engine.errors import BadInput, first_line

SECONDS = 3.0


def require_hub(path: str, field: str) -> None:
    """Nothing if the hub can be asked for ``path``, or if asking it is switched off: then its libraries look nowhere.

    Raises:
        BadInput: it cannot be reached.
    """
    if constants.HF_HUB_OFFLINE:
        return
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # of the HTTP library, which changes
        raise BadInput(
            f"{path}: is nothing local, and the hub cannot be reached ({first_line(error)}). Check the path or the "
            f"network, or set HF_HUB_OFFLINE=1 to use what was fetched before ({field}).",
            "hub_not_found_or_offline",
        ) from None
