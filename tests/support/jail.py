"""Runs code under test in a chroot, where it can do no harm even when it is broken.

Code that unpacks hostile layers is tested as root. If it ever loses a check, an opaque marker behind a symlink to ``/``
would empty the machine. So it only runs in a jail, whose ``/`` is the directory that the test gives: an escape from the
root filesystem meets the canaries beside it, not the machine. Without root, the jail is made in a user namespace, and
the code has no privileges in it.

A worker process, started once, forks for each call; the tests' own process has threads and must not.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from tests.support import parts

P = ParamSpec("P")
T = TypeVar("T")

_NEW_USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER, linux/sched.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def run(directory: Path, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a module's ``function`` with ``directory`` as ``/``; returns or raises what it does."""
    worker = _worker()
    assert worker.stdin is not None
    assert worker.stdout is not None
    pickle.dump((os.fspath(directory), function, args, kwargs), worker.stdin)
    worker.stdin.flush()
    try:
        worked, value = pickle.load(worker.stdout)  # noqa: S301  it comes from our own child
    except EOFError:
        _worker.cache_clear()
        raise RuntimeError("the jailed process died") from None
    if not worked:
        raise value
    answer: T = value
    return answer


@functools.cache
def _worker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.jail"]
    # Source root and tests are found as in pytest's process.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert worker.stdin is not None
    assert worker.stdout is not None
    atexit.register(_end, worker)
    refusal = pickle.load(worker.stdout)  # noqa: S301  as above
    if refusal:
        parts.lacking("a jail", f"run as root, or allow user namespaces ({refusal})")
    return worker


def _end(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.close()
    worker.stdout.close()
    worker.wait()


def _serve() -> None:
    """The worker: reads calls from stdin, one after the other, and writes their outcomes to the original stdout."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that printed text cannot mix with the answers
    privileged = os.geteuid() == 0
    try:
        if not privileged:
            _enter_user_namespace()
    except OSError as error:
        _answer(answers, str(error))
        return
    _answer(answers, "")
    while True:
        try:
            directory, function, args, kwargs = pickle.load(requests)  # noqa: S301  it comes from our own parent
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.chroot(directory)
                os.chdir("/")
                if not privileged:
                    _drop_capabilities()
                _answer(answers, _outcome(function, args, kwargs))
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            _answer(answers, (False, RuntimeError(f"the jailed process ended with status {status}")))


def _outcome(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[bool, object]:
    try:
        return True, function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  raised again on the other side
        error.add_note(traceback.format_exc())
        error.__cause__ = error.__context__ = error.__traceback__ = None
        return False, error


def _answer(answers: IO[bytes], value: object) -> None:
    pickle.dump(value, answers)
    answers.flush()


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _NEW_USER_NAMESPACE)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def _call(name: str, *args: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    _serve()
