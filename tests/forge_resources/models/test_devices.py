import pytest

from forge_resources.config import WeightsConfig
from forge_resources.models.devices import (
    UnavailableDeviceError,
    UnsupportedSettingError,
    onnx_providers,
    require_plain_cpu,
    torch_device,
    torch_dtype,
    with_precision,
)


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(UnsupportedSettingError, match="fp16 needs a GPU"):
        torch_dtype("fp16", "cpu")


def test_auto_takes_what_is_there() -> None:
    import torch

    assert torch_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_named_device_that_is_absent_is_refused(device: str) -> None:
    import torch

    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(UnavailableDeviceError, match="is not there"):
        torch_device(device)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UnsupportedSettingError, match="unknown device 'tpu'"):
        torch_device("tpu")


def test_onnx_runs_on_the_cpu_and_never_falls_back_from_cuda() -> None:
    import onnxruntime

    assert onnx_providers("cpu") == ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert onnx_providers("auto") == ["CPUExecutionProvider"]
        with pytest.raises(UnavailableDeviceError):
            onnx_providers("cuda")


@pytest.mark.parametrize("settings", [{"device": "cuda"}, {"precision": "fp16"}])
def test_embedded_networks_refuse_what_they_cannot_do(settings: dict[str, str]) -> None:
    with pytest.raises(UnsupportedSettingError, match="embedded"):
        require_plain_cpu(WeightsConfig.model_validate(settings), "embedded")


def test_precision_is_part_of_the_identity() -> None:
    assert with_precision("x:y@z", "fp32") == "x:y@z"
    assert with_precision("x:y@z", "bf16") == "x:y@z+bf16"
