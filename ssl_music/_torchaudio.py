"""The one door to torchaudio; works with a CPU-only torch too.

The registry's torchaudio wheel is linked against CUDA, so beside a CPU-only torch `import torchaudio` dies on
`libc10_cuda.so` (OSError), and beside a newer CUDA torch its version check raises RuntimeError. Nothing that this
package uses needs torchaudio's compiled part, so in exactly these two cases an empty `torchaudio._extension` is
registered and the import tried again. Import it as `from ssl_music._torchaudio import torchaudio`.
"""

import importlib
import sys
from types import ModuleType


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        extension = ModuleType("torchaudio._extension")
        extension.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
        extension._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
        sys.modules["torchaudio._extension"] = extension
        return importlib.import_module("torchaudio")


torchaudio = _import()
