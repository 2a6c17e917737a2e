"""What assets/check, in and out run: finds the packages without `site`, whose start-up costs half a bare Python's."""

import sys

here = __file__.rpartition("/")[0]
sys.path[:0] = [here]
sys.path.append(f"{here}/../.venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")

from registry_image.concourse.main import main  # noqa: E402 - the path comes first

main(sys.argv[1], sys.argv[2:])
