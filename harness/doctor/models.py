"""Check of a pool's models: each is loaded, and compared with its own forward pass in the way that it is run; and those
that are to share key-value caches are asked whether they can.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence

from harness.doctor.findings import Finding
from harness.errors import MixrouteError
from harness.pool import ModelSpec, Pool
from harness.sharing import SharedCache


def check_models(pool: Pool) -> list[Finding]:
    """Load the models of a pool one after another, and test those of backend ``transformers`` anew."""
    findings = []
    for name, spec in pool.models.items():
        findings.append(_check(f"{pool.name} {name}", name, spec))
        gc.collect()  # only now is nothing left that holds the model
    if pool.kv_cache is not None and all(one.ok for one in findings):
        findings.append(_check_sharing(pool, pool.kv_cache))
    return findings


def _check_sharing(pool: Pool, sharing: SharedCache) -> Finding:
    """Load the models that share caches, at once, which fails where they cannot."""
    from harness.engine.opening import open_models

    subject = f"{pool.name} kv_cache"
    try:
        with open_models(pool.with_models({name: pool.models[name] for name in sharing.shared}), "deterministic", None):
            told = f"{', '.join(sharing.shared)} share each episode's key-value cache"
    except MixrouteError as error:
        return Finding(subject, ok=False, message=str(error))
    return Finding(
        subject, ok=True, message=f"{told}, and read the last {sharing.reread} turns anew" if sharing.reread else told
    )


def _check(subject: str, name: str, spec: ModelSpec) -> Finding:
    if spec.backend != "transformers":
        return Finding(subject, ok=True, message=f"not checked: backend '{spec.backend}' runs models in its own way")
    from harness.backends.choosing import architecture, choose_way
    from harness.backends.loading import TransformersOptions, load_model, unreadable
    from harness.backends.model_card import model_card
    from harness.backends.quantized.convert import kernels
    from harness.config import check

    try:
        options = check(spec.options, TransformersOptions, f"options of model '{name}'")
        model, tokenizer = load_model(name, spec, options)
        card = model_card(name, model, spec, options)
        named = architecture(model)
        choice = choose_way(name, model, tokenizer, card.fingerprint, force=True)
        computes = _arithmetic(card.details.get("arithmetic"), kernels(model))
    except MixrouteError as error:
        return Finding(subject, ok=False, message=str(error))
    except Exception as error:  # of transformers, for an architecture that nobody has tried
        return Finding(subject, ok=False, message=str(unreadable(name, str(spec.weights), error)))
    return Finding(subject, ok=True, message=f"{named}: {computes}{choice.says}")


def _arithmetic(found: str | None, kernels: Sequence[str]) -> str:
    """What computes the linear layers of a quantized checkpoint; empty for others."""
    if found is None:
        return ""
    by = f" by {', '.join(kernels)}" if kernels else ", at the speed of dense weights"
    return f"linear layers {found}{by}; "
