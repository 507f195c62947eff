"""``options`` of the models that backends ``openai`` and ``vllm`` run, as pool files give them."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from harness.config import Strict


class OpenAIOptions(Strict):
    """``options`` of a model with this backend. ``weights`` is the model's name at the endpoint."""

    base_url: str = Field(pattern="^https?://")
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; it may be unset where the endpoint needs none."""
    parameters: int = Field(ge=1)
    """Parameters of the model. Its nominal cost is computed from them and ``weight_bytes``."""
    weight_bytes: int = Field(ge=1)
    top_logprobs: int = Field(default=5, ge=1, le=20)
    """Number of most likely tokens to ask for at each position; entropies are computed from them. Every endpoint gives
    5."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds until a call is abandoned and tried again."""
    retries: int = Field(default=5, ge=0)
    """Retries after a time-out, a lost connection, or the statuses 408, 409, 429 and 5xx. Waits grow, or are as long
    as the endpoint asks for."""
    max_in_flight: int = Field(default=64, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Sent with every call: parameters that are this endpoint's own. Texts in it are shown as ``***``."""

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, content: Any) -> Any:  # noqa: ANN401 - whatever a file holds
        """Check what may hold secrets here, since the messages of pydantic's own checks show the value."""
        url, body = content.get("base_url", "http://"), content.get("extra_body", {})
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise ValueError("'base_url' must begin with http:// or https://")
        try:
            _ = urlsplit(url).port
        except ValueError as error:
            raise ValueError("'base_url' is no address: the port must be a number") from error
        if not isinstance(body, dict) or not all(isinstance(key, str) for key in body):
            raise ValueError("'extra_body' must be a mapping of parameters")
        return content


class VllmOptions(Strict):
    """``options`` of a model with this backend."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the computation; ``auto`` is the checkpoint's own."""
    quantization: Literal["none", "rtn-w4", "rtn-w4-channel"] = "none"
    """Round to nearest, packed once in the cache. Checkpoints that are quantized already (AWQ, GPTQ,
    compressed-tensors) state their packing themselves."""
    memory_share: float = Field(default=0.45, gt=0, le=1)
    """Share of the GPU's memory for weights and caches; the shares of all models on one GPU must add up to less than
    1."""
    kv_cache_mb: int | None = Field(default=None, ge=1)
    """Memory for key-value caches; by default what ``memory_share`` leaves, and 1,024 on a CPU."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt with its answer, in tokens; by default the model's own."""
    max_batch: int = Field(default=64, ge=1)
    """Most sequences in one pass."""
    tensor_parallel: int = Field(default=1, ge=1)
    """Number of GPUs that share the model."""
    eager: bool = False
    """Whether to skip CUDA graphs and compilation, which take longer to start and run faster."""
    top_logprobs: int = Field(default=20, ge=1, le=20)
    """Number of most likely tokens to get for each position; entropies are computed from them."""
    generation_config: Literal["refuse", "ignore"] = "refuse"
    """What to do with settings of the checkpoint's ``generation_config`` that would change answers, such as
    ``repetition_penalty``; see ``check_generation_settings``."""
