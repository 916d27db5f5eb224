"""SPDX 3.0: the energy of a model as a JSON-LD document with an AI package.

::

    SpdxDocument -> ai_AIPackage -> ai_EnergyConsumption -> ai_EnergyConsumptionDescription
                                      of training, finetuning or inference     0.042 kilowattHour

Source: spdx.github.io/spdx-spec/v3.0.1/model/AI. The profile asks for more of a package than a
measurement knows, so the document claims conformance to the core profile alone.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import joulelab
from joulelab import formats
from joulelab.cards.work import Card, Work, rounded
from joulelab.energy.carbon.footprint import JOULES_IN_KWH

VERSION = "3.0.1"
CONTEXT = f"https://spdx.org/rdf/{VERSION}/spdx-context.jsonld"
PROPERTIES = {
    "training": "ai_trainingEnergyConsumption",
    "fine-tuning": "ai_finetuningEnergyConsumption",
    "inference": "ai_inferenceEnergyConsumption",
}
NOT_MEASURED = (
    "suppliedBy",
    "software_downloadLocation",
    "software_packageVersion",
    "releaseTime",
)
"""What the AI profile asks of a package besides."""
CREATION = "_:creation"


def spdx_card(work: Work) -> Card:
    """The document.

    Args:
        work: what was measured.
    """
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = PROPERTIES[work.phase]
    left_out = {
        name: f"only {work.phase} was measured" for name in PROPERTIES.values() if name != own
    }
    package: dict[str, Any] = {
        "type": "ai_AIPackage",
        "creationInfo": CREATION,
        "name": work.name,
        "comment": _comment(work),
        "software_primaryPurpose": "model",
    }
    if work.energy_j is None:
        left_out[own] = work.why("energy_j")
    else:
        package["ai_energyConsumption"] = {
            "type": "ai_EnergyConsumption",
            own: [
                {
                    "type": "ai_EnergyConsumptionDescription",
                    "ai_energyQuantity": decimal(rounded(work.energy_j / JOULES_IN_KWH)),
                    "ai_energyUnit": "kilowattHour",
                }
            ],
        }
    if work.flops is not None:
        package["ai_informationAboutTraining"] = (
            f"{decimal(work.flops)} floating-point operations in matrix products and convolutions"
        )
    elif work.phase != "inference":
        left_out["ai_informationAboutTraining"] = f"operations: {work.why('flops')}"
    left_out |= dict.fromkeys(NOT_MEASURED, "not known from a measurement: add it")
    left_out["profileConformance: ai"] = "add the properties above first"
    fields = {k: v for k, v in package.items() if k not in ("type", "creationInfo")}
    document = json.dumps(_document(package, created), indent=2, ensure_ascii=False)
    return Card(document, fields, left_out, work.remarks)


def decimal(value: float) -> str:
    """A number as ``xsd:decimal`` has it: without an exponent.

    >>> decimal(6.14e-06)
    '0.00000614'
    """
    return format(Decimal(repr(float(value))).normalize(), "f")


def _comment(work: Work) -> str:
    """How the energy is known, for which SPDX has no property."""
    bound = formats.joules(work.error_j) if work.error_j is not None else work.why("error_j")
    known = f"Energy: {work.origin}; error bound: {bound}." if work.energy_j is not None else ""
    co2e = f"CO2e: {work.footprint}." if work.co2e_g is not None else ""
    hardware = f"Hardware: {work.hardware}." if work.hardware else ""
    counted = f"Counted: {work.scope}; without the overhead of a data centre."
    return " ".join(filter(None, [known, counted, co2e, hardware, *work.remarks]))


def _document(package: dict[str, Any], created: str) -> dict[str, Any]:
    """Every element, with identifiers that follow from the content."""
    base = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([package, created], sort_keys=True))
    agent, tool, model, whole = (
        f"urn:uuid:{uuid.uuid5(base, part)}" for part in ("agent", "tool", "model", "document")
    )
    name = f"joulelab {joulelab.__version__}"
    kind = package.pop("type")
    return {
        "@context": CONTEXT,
        "@graph": [
            {
                "type": "CreationInfo",
                "@id": CREATION,
                "specVersion": VERSION,
                "created": created,
                "createdBy": [agent],
                "createdUsing": [tool],
            },
            {
                "type": "SoftwareAgent",
                "spdxId": agent,
                "creationInfo": CREATION,
                "name": name,
            },
            {"type": "Tool", "spdxId": tool, "creationInfo": CREATION, "name": name},
            {"type": kind, "spdxId": model, **package},
            {
                "type": "SpdxDocument",
                "spdxId": whole,
                "creationInfo": CREATION,
                "profileConformance": ["core"],
                "rootElement": [model],
                "element": [agent, tool, model],
            },
        ],
    }
