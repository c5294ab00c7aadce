"""python -m conform"""

import sys

from conform.cli import main

sys.exit(main())
