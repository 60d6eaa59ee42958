"""Set before torch is imported: OpenMP threads that sleep while they wait, so that a busy machine stays quick."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
