"""Human labels under the names of the vocabulary."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from forge_resources.sources.base import Count, Label, PhotoLabels, Point
from forge_resources.vocabulary import Vocabulary


class LabelNaming:
    """Gives labels the vocabulary's names, and counts the classes that it does not know.

    Args:
        vocabulary: That names the classes.
        kind: Of the source, whose own names it takes.
    """

    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        self._vocabulary = vocabulary
        self._kind = kind
        self._unknown: Counter[str] = Counter()

    def columns(self, labels: PhotoLabels) -> dict[str, list[dict[str, Any]]]:
        """The columns `labels`, `points`, `counts` and `relationships` of one photo's row of `raw_images`."""
        return {
            "labels": self._named(labels.labels),
            "points": self._named(labels.points),
            "counts": self._named(labels.counts),
            "relationships": [dataclasses.asdict(relationship) for relationship in labels.relationships],
        }

    @property
    def unknown(self) -> dict[str, int]:
        """Labels, points and counts of classes that the vocabulary does not know, most frequent first."""
        return dict(sorted(self._unknown.items(), key=lambda item: (-item[1], item[0])))

    def _named(self, items: Sequence[Label | Point | Count]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for item in items:
            named = self._vocabulary.canonical(self._kind, item.category)
            if not named.is_known:
                self._unknown[named.category] += 1
            rows.append(dataclasses.asdict(item) | {"category": named.category, "source_category": item.category})
        return rows
