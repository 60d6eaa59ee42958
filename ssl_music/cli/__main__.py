"""`python -m ssl_music.cli`, for where the console script is not on the path."""

import sys

from ssl_music.cli import main

if __name__ == "__main__":
    sys.exit(main())
