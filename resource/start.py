"""The entry point of assets/check, in and out: sets the import path without `site` and runs the step.

A CI server starts `check` hundreds of times a minute, and most of its cost is imports (docs/start-up.md).
"""

import gc
import sys
import warnings

here = __file__.rpartition("/")[0]
packages = f"{here}/../.venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
sys.path += [here, packages]

# Imports make no garbage; `main` enables collection after it has imported the step's modules.
gc.disable()
# requests imports it only to guess text encodings, which we never need, and warns when it is missing.
sys.modules["charset_normalizer"] = None  # type: ignore[assignment]  # None makes the import fail
warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")

from registry_image.concourse.main import main  # noqa: E402 - the path comes first

main(sys.argv[1], sys.argv[2:])
