"""What a checkpoint's ``generation_config`` asks for beside the weights: refused where it would change greedy answers.

Settings of sampling (``do_sample``, ``temperature``, ``top_k``, ``top_p`` and their kind) and lengths are the suite's
and the task's own, and the tokens that end an answer are read from it; all others are either neutral or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import MixrouteError
from harness.json_files import read_json

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "force_words_ids": ([],),
    "constraints": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "forced_decoder_ids": ([],),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "sequence_bias": ({}, []),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "exponential_decay_length_penalty": (),
    "watermarking_config": ({},),
    "dola_layers": (),
    "stop_strings": ([], ""),
    "token_healing": (False,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
"""Settings that change answers at temperature 0, each with the values that do not; None never does."""


def check_generation_settings(name: str, settings: Mapping[str, Any], *, ignored: bool) -> None:
    """Refuse settings that change what the model would answer and are not applied here.

    Args:
        name: Of the model in its pool.
        settings: The ``generation_config``.
        ignored: Whether the pool says to leave them out.

    Raises:
        MixrouteError: there are such settings, and they are not ignored.
    """
    found = changing_settings(settings)
    if found and not ignored:
        shown = ", ".join(f"{key} {value!r}"[:80] for key, value in found.items())
        raise MixrouteError(
            f"model '{name}': its generation_config asks for {shown}, which is not applied here: set its option "
            "'generation_config: ignore' in the pool to answer without"
        )


def changing_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that change answers at temperature 0 and are not applied here."""
    return {
        key: settings[key]
        for key, neutral in _NEUTRAL.items()
        if settings.get(key) is not None and settings[key] not in neutral
    }


def generation_settings(folder: Path) -> dict[str, Any]:
    """The ``generation_config`` of a folder with a checkpoint; empty without one.

    Raises:
        MixrouteError: it is damaged.
    """
    path = folder / "generation_config.json"
    if not path.exists():
        return {}
    found: dict[str, Any] = read_json(path, dict[str, Any], "restore it as the checkpoint has it")
    return found
