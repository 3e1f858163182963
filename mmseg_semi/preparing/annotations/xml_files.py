"""XML files of annotation tools, without anything that could make them more than data."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from mmseg_semi.errors import SetupError


def read_xml(path: Path, what: str) -> ElementTree.Element:
    """Parse an XML file without a document type, so that it can define no entities.

    Args:
        path: The file.
        what: What it should be, for the error.

    Returns:
        The root element.

    Raises:
        SetupError: If the file is missing, empty, cut off, no XML, or has a document type.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f'{path} cannot be read ({error}), expected {what}') from error
    if not content.strip():
        raise SetupError(f'{path} is empty, expected {what}; export it again')
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> NoReturn:
        raise SetupError(
            f'{path} has a document type (<!DOCTYPE>), which no annotation tool writes; export it again'
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, SetupError):
            raise
        raise SetupError(
            f'{path} is no complete XML file ({error}), expected {what}; export it again'
        ) from error
    return builder.close()
