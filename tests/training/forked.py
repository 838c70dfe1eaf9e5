"""Trainings in child processes, to be killed."""

from __future__ import annotations

import os
import signal
import traceback

import peft  # noqa: F401 - imported here once rather than in every child
import torch

from msakit.core.errors import Interrupted

FAILED = 99


def start(function) -> int:
    """Run a function in a child process; its process id. The child exits with 0 when it returns."""
    child = os.fork()
    if child:
        return child
    code = FAILED
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # not pytest's, but deadly
    try:
        torch.set_num_threads(1)
        function()
        code = 0
    except Interrupted as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """The exit code of a child; the negative signal number where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(function) -> int:
    """Start and wait."""
    return wait(start(function))


def killed_at_operation(function, number: int):
    """The function, its process killed at the n-th file operation that makes something last."""

    def wrapped():
        count = 0

        def counting(original):
            def operation(*arguments, **options):
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)

            return operation

        for name in ("fsync", "replace", "mkdir", "unlink", "rmdir", "open", "rename"):
            setattr(os, name, counting(getattr(os, name)))
        function()

    return wrapped
