"""What assets/check, in and out run: finds the packages without `site`, imports what the step needs, runs it.

A CI server starts `check` hundreds of times a minute, and nearly all that costs is importing (docs/start-up.md).
"""

import gc
import sys
import warnings

here = __file__.rpartition("/")[0]
packages = f"{here}/../.venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
sys.path += [here, packages]

# Nothing that importing makes is garbage; `main` switches collection on when the step's modules are there.
gc.disable()
# requests imports it to guess encodings of texts, which nobody here asks it to, and warns when it is not there.
sys.modules["charset_normalizer"] = None  # type: ignore[assignment]  # how Python is told not to find a module
warnings.filterwarnings("ignore", "Unable to find acceptable character detection dependency")

from registry_image.concourse.main import main  # noqa: E402 - the path comes first

main(sys.argv[1], sys.argv[2:])
