"""The grading process with a grader that misbehaves as the text says."""

import ctypes
import os
import re
import time
from pathlib import Path

from sglang_soft_evals import graders, grading
from sglang_soft_evals.graders import Grade


def odd(text: str, gold: str) -> Grade:
    what, _, rest = text.partition(" ")
    if what == "raises":
        raise ArithmeticError("odd")
    if what == "gil":  # the regular expression engine does not let other threads run
        re.match(r"(a|a)+$", "a" * 64 + "b")
    if what == "c":  # a C function that holds the GIL
        ctypes.PyDLL(None).sleep(60)
    if what == "exits":
        os._exit(3)
    if what == "eats":
        hoard = []
        while True:
            hoard.append(bytearray(1 << 29))  # few: on a busy machine many take too long
    if what == "forks":
        for _ in range(3):
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            with Path(rest).open("a") as file:
                file.write(f"{child}\n")
        if rest.endswith("stuck"):
            time.sleep(60)
    if what == "twins":
        os.fork()
    return Grade(text == gold, text)


if __name__ == "__main__":
    graders.GRADERS["odd"] = odd
    grading.main()
