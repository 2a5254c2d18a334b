"""Why a run died: from logs of any program, and from all that a run of ours left behind."""
