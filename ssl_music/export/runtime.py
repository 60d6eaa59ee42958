"""An .onnx file of `export` in place of a checkpoint: embedding and tagging by ONNX Runtime instead of torch."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_music import checkpoint
from ssl_music.encoders import Encoder
from ssl_music.errors import UserError
from ssl_music.export.graph import EMBEDDING, FORMAT, PROBABILITIES, WAVE
from ssl_music.export.seal import is_sealed

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
#: stands behind the class in the header of vectors: their digest is that of the weights, whoever multiplied them
BY = "by ONNX Runtime"


class OnnxFile:
    """A file of `export`, verified and open: a session of ONNX Runtime and the facts of the model."""

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the .onnx file that ssl-music export wrote")
        content = path.read_bytes()
        if not is_sealed(content):
            raise UserError(
                f"{path}: not an .onnx file as ssl-music export wrote it, but another program's, or damaged, or "
                "changed since; export the checkpoint again"
            )
        self.session = session(content)
        self.facts: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if self.facts.get("format") != FORMAT:
            raise UserError(f"{path}: format {self.facts.get('format')!r}, but {FORMAT!r} is read here; export again")
        self.path = path

    def __deepcopy__(self, memo: dict) -> "OnnxFile":
        return self  # a session cannot be copied, and nothing in it changes

    def run(self, output: str, wave: Tensor) -> Tensor:
        """One output of the graph, and no more computed than it needs."""
        (found,) = self.session.run([output], {WAVE: wave.detach().float().cpu().numpy()})
        return torch.from_numpy(found).to(wave.device)

    def choose_device(self, name: str) -> torch.device:
        """Moves the session to the GPU where `name` asks for it, and says where it wants its waves: on the CPU."""
        kind, _, number = name.partition(":")
        there = CUDA in _runtime().get_available_providers()
        if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
            raise UserError(f"device {name!r}: ONNX Runtime takes auto, cpu or cuda here")
        if kind == "cuda" and not there:
            raise UserError(
                f"device {name!r}: this ONNX Runtime has no CUDA; take cpu, or install onnxruntime-gpu in its place"
            )
        if kind == "cuda" or (kind == "auto" and there):
            self.session.set_providers([CUDA, CPU], [{"device_id": number or "0"}, {}])
            if kind == "cuda" and CUDA not in self.session.get_providers():
                raise UserError(f"device {name!r}: ONNX Runtime could not start its CUDA provider; take cpu")
        return torch.device("cpu")


class OnnxEncoder(Encoder):
    """The encoder in an .onnx file, for whatever takes an encoder and does not train it.

    Its digest is that of the weights it was exported from, so that its vectors and torch's go together: the same to
    1e-4. Its class in their header says that ONNX Runtime computed them.

    Shape: wave (B, 1, T) → (B, embedding_dim).
    """

    def __init__(self, file: OnnxFile) -> None:
        super().__init__()
        self.file = file
        self.sample_rate = int(file.facts["sample_rate"])
        self.input_samples = int(file.facts["input_samples"])
        self.minimum_samples = int(file.facts["minimum_samples"])
        self.embedding_dim = int(file.facts["embedding_dim"])

    def choose_device(self, name: str) -> torch.device:
        """As `OnnxFile.choose_device`; `embed` asks it."""
        return self.file.choose_device(name)

    def spec(self) -> dict[str, Any]:
        return json.loads(self.file.facts["spec"])

    def facts(self) -> dict[str, Any]:
        return {"class_path": f"{self.file.facts['class_path']} {BY}", "spec": self.spec()}

    def digest(self) -> str:
        return self.file.facts["encoder_digest"]

    def forward(self, wave: Tensor) -> Tensor:
        return self.file.run(EMBEDDING, self.check(wave))


class OnnxTagger(nn.Module):
    """The tagger in an .onnx file: its encoder, its tags, and their probabilities."""

    def __init__(self, file: OnnxFile) -> None:
        super().__init__()
        self.file = file
        self.encoder = OnnxEncoder(file)
        self.tags: list[str] = json.loads(file.facts["tags"])
        if not self.tags:
            raise UserError(
                f"{file.path}: holds an encoder without a head, and tags need a tagger; export the checkpoint of one"
            )
        self.multi_label: bool = json.loads(file.facts["head"])["multi_label"]

    def choose_device(self, name: str) -> torch.device:
        """As `OnnxFile.choose_device`; `tag_files` asks it."""
        return self.file.choose_device(name)

    def digest(self) -> str:
        """That of the tagger which was exported."""
        return self.file.facts["digest"]

    def probabilities(self, wave: Tensor) -> Tensor:
        """As `Tagger.probabilities`: (B, 1, T) → (B, K)."""
        return self.file.run(PROBABILITIES, self.encoder.check(wave))


def load_encoder(path: Path | str) -> OnnxEncoder:
    """The encoder in an .onnx file; of a tagger, its encoder."""
    return OnnxEncoder(OnnxFile(path)).eval()


def load_tagger(path: Path | str) -> OnnxTagger:
    """The tagger in an .onnx file."""
    return OnnxTagger(OnnxFile(path)).eval()


def encoder_in(path: Path | str) -> Encoder:
    """The encoder in a checkpoint, or in an .onnx file, which ONNX Runtime will run."""
    return load_encoder(path) if Path(path).suffix == ".onnx" else checkpoint.load_encoder(path)


def tagger_in(path: Path | str) -> Any:
    """The tagger in a checkpoint, or in an .onnx file, which ONNX Runtime will run."""
    return load_tagger(path) if Path(path).suffix == ".onnx" else checkpoint.load_tagger(path)


def session(content: bytes) -> Any:
    """A session on the CPU, with as many threads as torch has, which sleep while they wait."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # as OMP_WAIT_POLICY=PASSIVE for torch: threads that spin starve a busy machine
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    return runtime.InferenceSession(content, options, providers=[CPU])


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"running .onnx files wants the extra `onnx`: pip install 'ssl-music[onnx]' ({error})"
        ) from error
    return onnxruntime
