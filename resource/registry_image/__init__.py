"""A Concourse resource for container images: check, in and out over one verified core."""

#: The only place that states the version: the package, the image and ``--version`` take it from here.
__version__ = "0.1.0"
