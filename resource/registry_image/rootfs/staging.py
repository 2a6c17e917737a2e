"""Work in progress, beside its final place: renamed into it when done, removed otherwise (layers.md 49)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from registry_image.errors import StorageError, quote, storage_error, storage_errors
from registry_image.progress import Listener
from registry_image.rootfs.layer_errors import DESTINATION_HINTS
from registry_image.rootfs.removal import remove_tree

#: Begins the name of every staging directory, so that one left by a killed run is recognised.
STAGING_PREFIX = ".registry-image-"
#: The most seconds for cleaning up: Concourse kills a step ten seconds after it asks it to end, and stopping the work
#: may take two of them.
CLEANING_SECONDS = 8.0

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Staging:
    """A context manager: a fresh directory `path` in ``destination``, hence on the same filesystem.

    `publish` moves finished files to their final names; an error or a signal moves them back. At the end the directory
    is removed. If that fails or takes too long, ``listener`` gets a note, and no other error is hidden.
    """

    def __init__(
        self, destination: str | os.PathLike[str], listener: Listener, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.destination = os.fspath(destination)
        self.name = STAGING_PREFIX + os.urandom(8).hex()
        self.path = os.path.join(self.destination, self.name)
        self._listener = listener
        self._clock = clock
        self._resisting: list[str] = []
        self._published: list[str] = []

    def __enter__(self) -> Staging:
        with storage_errors(f"make a staging directory in {quote(self.destination)}", DESTINATION_HINTS):
            os.makedirs(self.destination, exist_ok=True)
            os.mkdir(self.path, 0o700)
        return self

    def require_absent(self, name: str) -> None:
        """Raises StorageError if ``name`` is in the destination already. Call it before the work too."""
        if os.path.lexists(os.path.join(self.destination, name)):
            raise StorageError(
                f"{quote(name)} is in {quote(self.destination)} already: expected no such file or directory",
                hint="give a destination without it: what another run left is never written over",
            )

    def publish(self, name: str) -> None:
        """Moves ``name`` from `path` to its final place. Raises StorageError if something is there."""
        self.require_absent(name)
        source, final = os.path.join(self.path, name), os.path.join(self.destination, name)
        self._published.append(name)  # before the rename: a signal may come at any moment
        try:
            mode = stat.S_IMODE(os.lstat(source).st_mode)
            if mode & 0o700 != 0o700:
                # Renaming a directory rewrites its "..": without root that needs write permission on it.
                os.chmod(source, mode | 0o700)
            os.rename(source, final)
            if mode & 0o700 != 0o700:
                os.chmod(final, mode)
        except OSError as error:
            if os.path.lexists(source):
                self._published.remove(name)
            doing = f"rename {quote(name)} to its place in {quote(self.destination)}"
            raise storage_error(error, doing, DESTINATION_HINTS) from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        deadline = self._clock() + CLEANING_SECONDS
        if kind is not None:
            self._take_back()

        def removed(path: bytes) -> None:
            if self._clock() > deadline:
                raise TimeoutError(f"it takes longer than {CLEANING_SECONDS:.0f} s")

        def failed(error: OSError, path: bytes) -> None:
            self._resisting.append(f"{quote(path)}: {error.strerror}")
            removed(path)

        try:
            parent = os.open(self.destination, _DIRECTORY)
            try:
                remove_tree(parent, os.fsencode(self.name), removed=removed, failed=failed)
            finally:
                os.close(parent)
        except FileNotFoundError:
            return
        except OSError as problem:
            self._resisting.append(str(problem))
        if self._resisting:
            self._listener.note(f"warning: {quote(self.path)} could not be removed whole: {self._resisting[0]}")

    def _take_back(self) -> None:
        for name in self._published:
            final = os.path.join(self.destination, name)
            try:
                os.chmod(final, 0o700)  # without root, as in `publish`
                os.rename(final, os.path.join(self.path, name))
            except FileNotFoundError:
                continue  # the signal came before the first rename
            except OSError as error:
                self._resisting.append(f"{quote(final)}: {error.strerror}")
