"""On what, and how exactly, networks compute."""

from typing import TYPE_CHECKING, Any, Final

from forge_resources.config import WeightsConfig
from forge_resources.errors import ForgeError

if TYPE_CHECKING:
    import torch

_TORCH_DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class UnavailableDeviceError(ForgeError, RuntimeError):
    """The configured device is not on this machine."""


class UnsupportedSettingError(ForgeError, ValueError):
    """A setting that the chosen backend or device cannot honour."""


def torch_device(wanted: str) -> str:
    """The device that PyTorch shall use: `auto` takes CUDA where it is there, else the CPU.

    Raises:
        UnavailableDeviceError: if the device that was named is not there.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UnavailableDeviceError(
            f"device {wanted} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UnavailableDeviceError("device mps is not there: PyTorch sees no Apple GPU")
    if kind not in ("cpu", "cuda", "mps"):
        raise UnsupportedSettingError(f"unknown device {wanted!r}: auto, cpu, cuda, cuda:1 and mps are known")
    return wanted


def torch_dtype(precision: str, device: str) -> "torch.dtype":
    """PyTorch's type for a precision.

    Raises:
        UnsupportedSettingError: for fp16 on a CPU, which has no fast path for it and loses range.
    """
    import torch

    if precision == "fp16" and device == "cpu":
        raise UnsupportedSettingError("precision fp16 needs a GPU: on the CPU use fp32 or bf16")
    return getattr(torch, _TORCH_DTYPES[precision])


def steady_torch() -> None:
    """Have PyTorch choose the same algorithms in every run of one machine."""
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def onnx_providers(wanted: str) -> list[str | tuple[str, dict[str, Any]]]:
    """The execution providers that ONNX Runtime shall use.

    Raises:
        UnavailableDeviceError: if CUDA is asked for by name and this ONNX Runtime has no CUDA provider.
        UnsupportedSettingError: for devices other than auto, cpu and cuda.
    """
    import onnxruntime

    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cpu", "cuda"):
        raise UnsupportedSettingError(f"ONNX Runtime takes device auto, cpu or cuda, not {wanted!r}")
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if kind == "cuda" and not has_cuda:
        raise UnavailableDeviceError(f"device {wanted} is not there for ONNX Runtime: install onnxruntime-gpu")
    if kind == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": int(number or 0)}), "CPUExecutionProvider"]


def require_plain_cpu(config: WeightsConfig, backend: str) -> None:
    """Refuse settings that a backend bound to the CPU and to its file's own precision cannot honour.

    Raises:
        UnsupportedSettingError: for another device or precision.
    """
    if config.device not in ("auto", "cpu"):
        raise UnsupportedSettingError(f"backend {backend} runs on the CPU alone, not on {config.device}")
    require_file_precision(config, backend)


def require_file_precision(config: WeightsConfig, backend: str) -> None:
    """Refuse a precision where the file itself fixes it.

    Raises:
        UnsupportedSettingError: for fp16 and bf16.
    """
    if config.precision != "fp32":
        raise UnsupportedSettingError(
            f"backend {backend} computes as its file says, it cannot be told {config.precision}"
        )


def with_precision(identity: str, precision: str) -> str:
    """A model's identity; a precision other than fp32 is part of it, the device never is."""
    return identity if precision == "fp32" else f"{identity}+{precision}"
