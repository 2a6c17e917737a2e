"""Runs one step: reads a request on stdin, writes one JSON value to stdout, and everything else to stderr."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from registry_image.concourse.console.log import write_line, write_text
from registry_image.decode import JSON
from registry_image.errors import RequestError, ResourceError, quote

if TYPE_CHECKING:
    from registry_image.concourse.request.source import Source

#: Bytes. Real requests have a few kB, and more with certificates and pasted keys.
MAX_REQUEST_SIZE = 16 * 1024 * 1024
#: Seconds to clean up after a signal; Concourse sends SIGKILL after 10.
CLEAN_UP_TIME = 9
#: Seconds after which a signal that came in a finalizer is raised again.
MOMENT = 0.01

EXIT_REFUSED = 1
#: EX_SOFTWARE in sysexits.h.
EXIT_BUG = 70


class Interrupted(BaseException):
    """A signal arrived. A BaseException, so that no ``except Exception`` on the way catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        #: What the step was doing, as the end of a sentence.
        self.doing = ""


def main(step: str, arguments: list[str]) -> NoReturn:
    """Ends the process even if threads still wait for a socket."""
    status = EXIT_BUG
    try:
        answers = _reserve_stdout()
        _stop_on_signals()
        text = _front_door(step, arguments)
        if text is None:
            text = json.dumps(_run(step, arguments)) + "\n"
        _write_answer(answers, text.encode())
        status = 0
    except ResourceError as error:
        status = EXIT_REFUSED
        for each in (error, *(error.others if isinstance(error, RequestError) else ())):
            write_line(f"error: {each.message}")
            if each.hint:
                write_line(f"hint: {each.hint}")
    except Interrupted as interrupted:
        status = 128 + interrupted.number
        write_line(f"stopped by {signal.Signals(interrupted.number).name}{interrupted.doing}")
    except Exception:  # noqa: BLE001 - any other exception is our bug: report it
        import traceback

        from registry_image.version import VERSION

        write_text(traceback.format_exc())
        write_line(
            "error: this is a bug in the resource, not in your pipeline: please report all lines above to its"
            f" maintainers, with the version: {step} {VERSION}, Python {sys.version.split()[0]}"
        )
    finally:
        os._exit(status)


def check() -> NoReturn:
    """The console script ``registry-image-check``."""
    main("check", sys.argv[1:])


def get() -> NoReturn:
    """The console script ``registry-image-in``."""
    main("in", sys.argv[1:])


def put() -> NoReturn:
    """The console script ``registry-image-out``."""
    main("out", sys.argv[1:])


def _front_door(step: str, arguments: list[str]) -> str | None:
    """The text that an option asks for; None for a request. Tells a person at a terminal what is waited for."""
    if arguments[:1] in (["--help"], ["-h"]) or arguments[:1] == ["--version"]:
        from registry_image.concourse.usage import usage, version_line

        return version_line(step) if arguments[0] == "--version" else usage(step)
    if os.isatty(0):
        write_line(f"{step}: waiting for a request on stdin: a JSON object, then Ctrl-D; `--help` shows an example")
    return None


def _run(step: str, arguments: list[str]) -> JSON:
    raw = _read_stdin()
    if step == "check":
        return _check(raw)
    if len(arguments) != 1:
        raise RequestError(f"{step}: expected one argument, a directory: got {len(arguments)}")
    if not os.path.isdir(arguments[0]):
        raise RequestError(f"{step}: {quote(arguments[0])} is not a directory")
    return _get(raw, arguments[0]) if step == "in" else _put(raw, arguments[0])


# Imports are local: a check must not pay for what a get needs, and an invalid request for neither.


def _check(raw: bytes) -> JSON:
    from registry_image.concourse.request.check import parse_check

    request = parse_check(raw)
    from registry_image.concourse.check import check
    from registry_image.concourse.listeners import open_lines

    _collect_garbage()
    with _naming("check", request.source):
        try:
            return [dict(version.as_json()) for version in check(request, open_lines(request.source))]
        except Interrupted as interrupted:
            # In and out have a console, which says how far they were.
            name, notes = str(request.source.repository), getattr(interrupted, "__notes__", [])
            doing = [f"looking at {name}", *notes] if not notes or name not in notes[0] else notes
            interrupted.doing = f": check: {': '.join(doing[:2])}"
            raise


def _get(raw: bytes, destination: str) -> JSON:
    from registry_image.concourse.request.get import parse_get

    request = parse_get(raw, destination)
    from registry_image.concourse.get import get
    from registry_image.concourse.listeners import open_console

    _collect_garbage()
    with _naming("in", request.source), open_console(request.source) as console:
        # A signal during the last renames could make a finished get be reported as aborted.
        return get(request, console, before_publishing=_ignore_signals).as_json()


def _put(raw: bytes, directory: str) -> JSON:
    from registry_image.concourse.request.put import parse_put

    request = parse_put(raw, directory)
    from registry_image.concourse.listeners import open_console
    from registry_image.concourse.put import put

    _collect_garbage()
    with _naming("out", request.source), open_console(request.source) as console:
        return put(request, console).as_json()


@contextmanager
def _naming(step: str, source: Source) -> Iterator[None]:
    """Errors inside name the step, the repository and its host. With `debug`, the first line says what runs."""
    if source.debug:
        from registry_image.concourse.usage import about

        write_line(about(step))
    try:
        yield
    except ResourceError as error:
        from registry_image.concourse.failure import complete

        complete(error, step, source)
        raise


def _collect_garbage() -> None:
    """Enables collection, which start.py disabled, and exempts all that was imported."""
    gc.freeze()
    gc.enable()


def _reserve_stdout() -> int:
    """A descriptor for the answer; output that libraries print to stdout now goes to stderr."""
    try:
        os.fstat(1)
    except OSError as error:
        raise RequestError(f"stdout must be open: {error.strerror}") from error
    for standard in (0, 2):
        try:
            os.fstat(standard)
        except OSError:
            # Otherwise the next file takes its place: the answer's would be stderr, and get every line of the log.
            os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _read_stdin() -> bytes:
    raw = bytearray()
    try:
        while piece := os.read(0, 1 << 16):
            raw += piece
            if len(raw) > MAX_REQUEST_SIZE:
                raise RequestError(f"request on stdin: more than {MAX_REQUEST_SIZE} bytes")
    except OSError as error:
        raise RequestError(f"request on stdin: cannot be read: {error.strerror}") from error
    return bytes(raw)


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _stop_on_signals() -> None:
    def stop(number: int, _: FrameType | None) -> None:
        for other in (signal.SIGTERM, signal.SIGINT):
            signal.signal(other, signal.SIG_IGN)
        # Unwinding removes what was written; the alarm ends the process if that hangs (a dead disk).
        signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
        signal.alarm(CLEAN_UP_TIME)
        raise Interrupted(number)

    def stop_later(lost: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised in a finalizer, such as that of a directory's handle."""
        if not isinstance(lost.exc_value, Interrupted):
            sys.__unraisablehook__(lost)
            return
        number = lost.exc_value.number
        signal.signal(signal.SIGALRM, lambda *_: stop(number, None))
        signal.setitimer(signal.ITIMER_REAL, MOMENT)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sys.unraisablehook = stop_later


def _write_answer(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise RequestError(f"the answer cannot be written to stdout: {error.strerror}") from error
