"""A process that forks one child a command, each with a fault armed, so that thousands of them take minutes.

Run as a script with the library of `inject.c` preloaded; requests and answers are lines of JSON, see `injection.py`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder

from itin.cli import main as itin


def command(words: list[str]) -> int:
    """Run `itin` with these words, and return its exit code."""
    try:
        itin(args=words, prog_name="itin")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def child(request: dict[str, Any]) -> None:
    """Run a command under a fault, and end this process."""
    gc.disable()  # it would touch, and so copy, all memory of the parent
    said = os.open(request["said"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    library = ctypes.CDLL(None)
    journal = os.open(request["journal"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC) if request["journal"] else -1
    seconds, ahead = ctypes.c_longlong(request["seconds"]), ctypes.c_longlong(request["ahead"])
    where = request["below"].encode()
    library.fault_arm(where, ctypes.c_long(request["at"]), request["how"], request["error"], seconds, ahead, journal)
    code = command(request["words"])
    library.fault_disarm()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def state(status: int) -> int | str:
    """How a process has ended, its exit code or minus the number of a signal; `stopped` where it goes on later."""
    return "stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def main() -> None:
    os.chdir(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "warm":  # what commands import lazily is imported here, once for all children
            answer: int | str = command(request["words"])
            sys.stdout.flush()
        elif request["do"] == "wait":
            answer = state(os.waitpid(request["pid"], os.WUNTRACED)[1])
        else:
            gc.freeze()
            answer = os.fork()
            if not answer:
                child(request)
        os.write(answers, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    Path("/proc/self/comm").write_text("states-nursery")
    main()
