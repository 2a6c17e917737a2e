"""The README as an index of packages shows it, where links to files of this repository lead nowhere.

They lead below the environment variable SOURCE_URL (``https://example.com/you/repository/blob/v1.2.3``), and are their
text alone without it. Pictures are left out. All else about the package is in pyproject.toml.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from setuptools import setup

_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def for_index(readme: str, source: str) -> str:
    def link(found: re.Match[str]) -> str:
        picture, text, path = found.groups()
        if picture:
            return ""
        return f"[{text}]({source.rstrip('/')}/{path})" if source else text

    return _RELATIVE.sub(link, readme)


if __name__ == "__main__":
    setup(
        long_description=for_index(
            Path(__file__).with_name("README.md").read_text(encoding="utf-8"), os.environ.get("SOURCE_URL", "")
        ),
        long_description_content_type="text/markdown",
    )
