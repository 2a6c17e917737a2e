"""The version, stated here only: the package, the image and ``--version`` take it from here."""

VERSION = "0.1.0"
