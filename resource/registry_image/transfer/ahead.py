"""Work on layers that runs ahead of who reads its results, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from registry_image.oci.digest import Buffer
from registry_image.oci.image import Layer
from registry_image.storage.spool import Spool, Stopped
from registry_image.transfer.crew import Crew

#: Bytes that wait for who reads them: enough to bridge the making of a thousand small files.
MEMORY = 4 * 1024 * 1024


class Ahead:
    """What ``work`` makes of each of ``layers``, one layer after the other, by a thread of ``crew``.

    As soon as anything in the crew fails, whoever reads gets that failure.
    """

    def __init__(
        self, crew: Crew, layers: Sequence[Layer], work: Callable[[Layer], Iterator[Buffer]], name: str
    ) -> None:
        self._crew = crew
        self._layers = layers
        self._work = work
        self._results = {layer.number: Spool(crew.stop, MEMORY) for layer in layers}
        crew.start(self._run, name)

    def read(self, layer: Layer) -> Iterator[Buffer]:
        """What was made of ``layer``, once. An error of the work comes after all that was made before it."""
        try:
            for piece in self._results[layer.number].read():
                self._crew.check()
                yield piece
        except Stopped:
            self._crew.check()
            raise

    def _run(self) -> None:
        for layer in self._layers:
            results = self._results[layer.number]
            try:
                for piece in self._work(layer):
                    results.write(piece if isinstance(piece, bytes) else bytes(piece))
            except Stopped:
                raise
            except Exception as error:  # noqa: BLE001  raised again by who reads
                results.finish(error)
                return
            results.finish()
