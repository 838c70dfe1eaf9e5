"""Whether every plugin and every component it names can be used."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError, MissingExtraError, MsakitError
from msakit.core.registry.specs import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msakit.core.registry.registry import Registry
    from msakit.core.registry.specs import ComponentSpec

# What the builder adds to a component's own settings.
WIDTHS = {
    Kind.ENCODER: {"input_size"},
    Kind.FUSER: {"modality_sizes", "text_size"},
    Kind.INJECTOR: {"input_size", "input_tokens", "hidden_size"},
    Kind.EXTRACTOR: set(),
    Kind.TRANSCRIBER: set(),
}


def check_registry(registry: Registry) -> list[str]:
    """Everything wrong, one line each; empty when all is well."""
    return [*_plugin_problems(registry), *_claim_problems(registry), *_component_problems(registry)]


def _plugin_problems(registry: Registry) -> Iterator[str]:
    for report in registry.manager.reports:
        plugin = f"plugin {report.name} ({report.distribution})"
        if report.error:
            yield f"{plugin}: {report.error}"
        if report.printed:
            yield f"{plugin}: prints at load time: {report.printed.strip().partition(chr(10))[0]}"
        if report.imported:
            yield f"{plugin}: imports {', '.join(report.imported)} at load time"


def _claim_problems(registry: Registry) -> Iterator[str]:
    """Short names that two plugins claim; each of them works by its full name only."""
    for kind, name in sorted({(spec.kind, spec.short) for spec in registry.components()}):
        try:
            registry.component(kind, name)
        except InputError as error:
            yield str(error).replace("\n", " ")


def _component_problems(registry: Registry) -> Iterator[str]:
    for spec in registry.components():
        try:
            config, target = registry.load_config_class(spec), registry.load_target(spec)
        except MissingExtraError:
            continue  # not installed here is not broken
        except MsakitError as error:
            yield f"{spec.full_name}: {error.message}"
            continue
        if spec.kind in WIDTHS:
            yield from _signature_problems(spec, config, target)


def _signature_problems(spec: ComponentSpec, config: Any, target: Any) -> Iterator[str]:
    wanted = set(config.model_fields) | WIDTHS[spec.kind]
    accepted = set(inspect.signature(target).parameters)
    if missing := wanted - accepted:
        yield f"{spec.full_name}: its constructor does not take {', '.join(sorted(missing))}"
    if extra := accepted - wanted:
        yield f"{spec.full_name}: its constructor takes {', '.join(sorted(extra))}, which no setting gives"
