"""Imported first by a rank: keeps messages out of the log that are for library developers, or repeat on every rank."""

from __future__ import annotations

import logging
import warnings

# Deprecations of the libraries under us are ours to follow, not the user's to read on every rank.
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)
# A backward through a kernel that has none goes on with wrong gradients and this one line; better not at all.
warnings.filterwarnings("error", message=".*autograd kernel was not registered.*")


class _WithoutKernelHint(logging.Filter):
    """bitsandbytes says at import that an optional kernel package is missing; only inference would use it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "kernels-community" not in record.getMessage()


logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_WithoutKernelHint())
# It says at every 8-bit product that its input is cast to float16, which is how the method works.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def quiet_transformers() -> None:
    """Progress bars and advice off; errors are raised, not logged."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
