"""Croissant metadata of a release: JSON-LD after version 1.1 of https://docs.mlcommons.org/croissant/."""

import json
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from forge_assets.release.release_folder import DATA, IMAGES, ReleaseManifest
from forge_assets.tables import SPLITS, VERIFIED_QA

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
_PARQUET: Final = "application/x-parquet"
_CONTEXT: Final[Mapping[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MEANING: Final[Mapping[str, str]] = {
    "qa_id": "Stable hash of photo content, task, template and objects.",
    "image_id": "Photo: its source and its path there; row of images.parquet.",
    "question": "Text of the question; boxes are 0-1000.",
    "answer": "Text of the answer.",
    "short_answer": "The answer without a sentence around it.",
    "choices": "Options as shown; empty for open questions.",
    "template_id": "Versioned template of the question.",
    "split": "train or val, by the photo's content.",
    "license": "Licence of the photo, as its source states it.",
    "score": "How far above its thresholds the pair stands; 0 is just at them.",
}
_PLAIN: Final[Mapping[type[pl.DataType], str]] = {
    pl.String: "sc:Text",
    pl.Enum: "sc:Text",
    pl.Float64: "sc:Float",
    pl.Int32: "sc:Integer",
    pl.Boolean: "sc:Boolean",
}


def croissant(manifest: ReleaseManifest) -> str:
    """The text of `croissant.json`: each file with its SHA-256, and a record set a task and split.

    Columns that are nested (boxes, evidence) are in the files; Croissant has no plain type for them.
    """
    sets = sorted({(file.path.split("/")[1], _split(file.path)) for file in manifest.data_files})
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": manifest.name,
        "description": f"{manifest.pairs} spatial question-answer pairs about {manifest.photos} photos, each verified "
        "by independent evidence. Annotations alone.",
        "version": f"1.0.0+{manifest.content_hash}",
        "license": list(manifest.licenses),
        "keywords": ["spatial reasoning", "visual question answering", *sorted({task for task, _ in sets})],
        "isLiveDataset": False,
        "rai:dataCollection": f"Networks: {', '.join(manifest.models) or 'none'}.",
        "rai:dataBiases": "Applied balance plan: " + (manifest.balance_plan or "none"),
        "distribution": [
            *(_file_object(file.path, file.sha256, file.bytes) for file in manifest.files),
            *(_file_set(task, split) for task, split in sets),
        ],
        "recordSet": [_record_set(task, split) for task, split in sets],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _split(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return next(split for split in SPLITS if name.startswith(f"{split}-"))


def _file_object(path: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": _PARQUET,
        "sha256": sha256,
    } | ({"description": "The photos that the pairs are about."} if path == IMAGES else {})


def _file_set(task: str, split: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{task}-{split}-files",
        "name": f"{task}-{split}-files",
        "encodingFormat": _PARQUET,
        "includes": f"{DATA}/{task}/{split}-*.parquet",
    }


def _record_set(task: str, split: str) -> dict[str, Any]:
    name = f"{task}-{split}"
    plain = {column: _PLAIN[type(dtype)] for column, dtype in VERIFIED_QA.items() if type(dtype) in _PLAIN}
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Pairs of the task {task}, split {split}.",
        "key": {"@id": f"{name}/qa_id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": _MEANING.get(column, column.replace("_", " ")),
                "dataType": data_type,
                "source": {"fileSet": {"@id": f"{name}-files"}, "extract": {"column": column}},
            }
            for column, data_type in plain.items()
        ],
    }
