"""Ends that come from outside of the program, and the programs that report them."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, Role, sign

CAUSES = (
    Cause(
        "sigsegv",
        "a crash in native code (segmentation fault)",
        says="A process crashed in native code. Python could not say where; most often a library does not fit another.",
        fixes=(
            Fix("run it again with this: the stack is printed at the crash", "export PYTHONFAULTHANDLER=1"),
            Fix("install torch and what is compiled for it (flash-attn, bitsandbytes, deepspeed) anew, together"),
        ),
        signs=(
            sign(
                r"Fatal Python error: (?:Segmentation fault|none_dealloc|Illegal)",
                r"Windows fatal exception: access violation",
                is_native=True,
            ),
            sign(
                r"\(SIGSEGV\)",
                r"Segmentation fault",
                r"signal SIGSEGV",
                r"Signals\.SIGSEGV",
                r"killed by signal: Segmentation",
                role=Role.DEATH,
            ),
            sign(
                r"exitcode\s*:? ?-11\b",
                r"(?:return|with) code (?:= )?-11\b",
                r"exit (?:code|status):? (?:139|3221225477|-1073741819)\b",
                role=Role.DEATH,
            ),
            sign(
                r"double free or corruption",
                r"(?:malloc|free|realloc|munmap_chunk)\(\): ",
                r"corrupted size vs\. prev_size|stack smashing detected",
                r"\(SIGILL\)|Illegal instruction|\(SIGFPE\)|Floating point exception \(core dumped\)",
                r"(?:exitcode\s*:?|return code =) ?-[48]\b",
                role=Role.DEATH,
            ),
            sign(r"Fatal Python error: Aborted", role=Role.PEER, is_certain=False),
            sign(r"Caught signal 11", r"exited on signal 11\b", role=Role.DEATH),
        ),
    ),
    Cause(
        "user_interrupt",
        "somebody ended it",
        says="The run was ended from outside: by a key, a signal, a closed terminal or the scheduler's time limit.",
        fixes=(
            Fix("go on from the newest checkpoint", "qltui resume RUN"),
            Fix("let it outlive the terminal: start it with qltui launch, in tmux, or as a batch job"),
        ),
        signs=(
            sign(
                r"DUE TO TIME LIMIT",
                r"JOB \d+ ON \S+ CANCELLED",
                r"STEP \d+\.\d+ ON \S+ CANCELLED AT",
                r"DUE TO PREEMPTION",
                r"DUE TO NODE FAILURE|srun: Force Terminated job",
                r"job killed: walltime \S+ exceeded limit|TERM_RUNLIMIT",
                role=Role.INTERRUPT,
                says="The scheduler ended the job: its time was up, or somebody cancelled it.",
            ),
            sign(
                r"Received SIGTERM: 15|wandb: Ctrl \+ C detected",
                r"Received (?:2|15|Signals\.SIG(?:INT|TERM)) death signal",
                role=Role.INTERRUPT,
                is_native=True,
            ),
            sign(
                r"(?:got|received) (?:the )?signal:? ?(?:SIGHUP|1\b)",
                r"Received 1 death signal|SIGHUP",
                role=Role.INTERRUPT,
                is_native=True,
                says="The terminal it was started from was closed, and with it the run.",
            ),
            sign(
                r"(?:SignalException|got signal|received signal|Received signal|got signal:) ?:? ?.*\b(?:2|15"
                r"|SIGTERM|SIGINT)\b",
                role=Role.INTERRUPT,
            ),
            sign(
                r"^KeyboardInterrupt\b|Detected KeyboardInterrupt",
                r"Control-C detected|[Ii]nterrupted by (?:the )?user|W&B process to finish\.{3} \(failed 255\)",
                r"(?:^|\s)\^C",
                r"Signal 2 \(SIGINT\)",
                r"exitcode\s*:? ?-2\b",
                r"Signals\.SIGINT",
                role=Role.INTERRUPT,
            ),
            sign(
                r"(?:^|\s)Terminated$",
                r"exit (?:code|status):? 143\b",
                r"(?:Signal 15 \(SIGTERM\) received|exitcode\s*:? ?-15\b)",
                role=Role.INTERRUPT,
                is_certain=False,
            ),
        ),
    ),
)

WRAPPERS = (
    sign(r"ChildFailedError", r"torch\.distributed\.elastic\.multiprocessing\.errors", role=Role.WRAPPER),
    sign(r"ExecuteUserScriptError|AlgorithmError", role=Role.WRAPPER),
    sign(r"subprocess\.CalledProcessError: Command .* returned non-zero exit status", role=Role.WRAPPER),
    sign(r"CalledProcessError", role=Role.WRAPPER),
    sign(
        r"Sending process \d+ closing signal SIG",
        r"sigkill_handler\] Killing subprocess",
        role=Role.WRAPPER,
        is_native=True,
    ),
    sign(r"^Traceback: cut off before its exception", role=Role.WRAPPER),
    sign(r"Caught \w+(?:\.\w+)* in (?:DataLoader worker|replica|pin memory thread)", role=Role.WRAPPER),
    sign(
        r"RemoteTraceback",
        r"ProcessRaisedException",
        r"RayTaskError",
        r"ActorDiedError",
        r"RayActorError",
        r"WorkerCrashedError",
        role=Role.WRAPPER,
    ),
    sign(
        r"^(?:ConnectionResetError|BrokenPipeError|EOFError)\b",
        frames=r"multiprocessing/|multiprocess/|utils/data",
        role=Role.WRAPPER,
    ),
    sign(r"Child process with PID \d+ terminated with code [1-9]", role=Role.WRAPPER),
    sign(r"^(?:Base)?ExceptionGroup\b", role=Role.WRAPPER),
    sign(r"^SystemExit\b", r"typer\.Exit", r"click\.exceptions\.Exit", role=Role.WRAPPER),
    sign(r"DatasetGenerationError: An error occurred while generating the dataset", role=Role.WRAPPER),
    sign(r"DataLoader worker \(pid\(s\) [\d, ]+\) exited unexpectedly", role=Role.WRAPPER),
    sign(r"process \d+ terminated with exit code [1-9]", r"ProcessExitedException", role=Role.WRAPPER),
    sign(r"MPI_ABORT was invoked on rank", r"^with errorcode -?[1-9]", role=Role.WRAPPER),
    sign(
        r"exits with return code = [1-9]\d*\b",
        r"\(?exitcode\s*:? ?[1-9]\d*\b",
        r"returned non-zero exit status [1-9]",
        role=Role.WRAPPER,
    ),
)
"""Words of those that only report that something else has failed."""
