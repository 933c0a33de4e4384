"""Writes the bill of materials of an image as CycloneDX 1.6 JSON: Debian and Python packages, semconv as the subject.

Needs cyclonedx-python-lib with its JSON validator (requirements-dev.lock). The same input gives the same bytes: the
serial number is derived from the contents, the time is SOURCE_DATE_EPOCH (0 without it). Exit code 2 for bad input.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from semconv.system.errors import InputError
from semconv.system.files import write_text

DEBIAN_FIELDS = "${Package}\t${Version}\t${Architecture}\n"


def canonical(name: str) -> str:
    """Returns a Python package's name as purl and the lock files write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sha256(value: str) -> HashType:
    """Returns a SHA-256 given in hexadecimal."""
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def debian_components(listing: str, distribution: str) -> list[Component]:
    """Returns a component for every line 'package, version, architecture' of dpkg-query.

    Args:
        listing: lines of three fields with tabs between.
        distribution: as purl names it, such as debian-12.

    Raises:
        InputError: a line has another number of fields.
    """
    found: list[Component] = []
    for line in listing.splitlines():
        if line.count("\t") != 2:
            raise InputError(f"a Debian package needs 3 fields (package, version, architecture), got {line!r}")
        name, version, architecture = line.split("\t")
        purl = PackageURL(
            "deb", distribution.split("-")[0], name, version, {"arch": architecture, "distro": distribution}
        )
        found.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    return found


def licences(metadata: importlib.metadata.PackageMetadata) -> list[License]:
    """Returns what a package says of its licence: the expression, else a short field, else its classifiers."""
    make = LicenseFactory().make_from_string
    for stated in (metadata.get("License-Expression"), metadata.get("License")):
        if stated and len(stated) <= 100 and "\n" not in stated and stated != "UNKNOWN":
            return [make(stated)]
    classifiers = [c.split(" :: ") for c in metadata.get_all("Classifier") or [] if c.startswith("License :: ")]
    return [LicenseFactory().make_with_name(parts[-1]) for parts in sorted(classifiers) if len(parts) > 2]


def python_components(folder: Path, hashes: dict[str, str]) -> list[Component]:
    """Returns a component for every Python package installed in a site-packages folder.

    Args:
        folder: the site-packages folder.
        hashes: canonical name -> SHA-256 of the file that was installed, where known.
    """
    found: list[Component] = []
    for package in importlib.metadata.distributions(path=[str(folder)]):
        name = canonical(package.metadata["Name"])
        purl = PackageURL("pypi", None, name, package.version)
        known = [sha256(hashes[name])] if name in hashes else []
        found.append(
            Component(
                name=package.metadata["Name"],
                version=package.version,
                purl=purl,
                bom_ref=str(purl),
                licenses=licences(package.metadata),
                hashes=known,
            )
        )
    return found


def installed_hashes(reports: Iterable[Path]) -> dict[str, str]:
    """Returns canonical name -> SHA-256 of the installed file, from the reports of `pip install --report`.

    Raises:
        InputError: a file is no such report.
    """
    found: dict[str, str] = {}
    for path in reports:
        try:
            for item in json.loads(path.read_text())["install"]:
                archive = item["download_info"]["archive_info"]
                digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
                if digest:  # pip before 23.1 writes `hash` alone
                    found[canonical(item["metadata"]["name"])] = digest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no installation report of pip: {error!r}") from None
    return found


def subject(components: list[Component], wheel: Path | None, commit: str) -> Component:
    """Takes semconv out of the components and returns it as what the bill is about.

    Raises:
        InputError: semconv is not among them.
    """
    found = [c for c in components if c.name == "semconv"]
    if not found:
        raise InputError("semconv is not among the Python packages of that folder")
    components.remove(found[0])
    found[0].type = ComponentType.APPLICATION
    found[0].properties.add(Property(name="semconv:commit", value=commit))
    if wheel is not None:
        found[0].hashes.add(sha256(hashlib.sha256(wheel.read_bytes()).hexdigest()))
    return found[0]


def bill(main: Component, components: list[Component], time: int) -> str:
    """Returns the bill as text, valid against the schema of CycloneDX 1.6.

    Raises:
        InputError: it is not valid; the message is the validator's.
    """
    contents = "\n".join(sorted(str(c.purl) for c in [main, *components]))
    bom = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, contents))
    bom.metadata.component = main
    bom.metadata.timestamp = datetime.fromtimestamp(time, UTC)
    bom.register_dependency(main, components)
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error:
        raise InputError(f"the bill does not fit the schema of CycloneDX 1.6: {str(error.data).splitlines()[0]}")
    return text


def debian_listing(path: Path | None) -> str:
    """Returns dpkg-query's lines from a file, or of this machine; nothing where there is no dpkg."""
    if path is not None:
        return path.read_text()
    if shutil.which("dpkg-query") is None:
        return ""
    command = ["dpkg-query", "--show", f"--showformat={DEBIAN_FIELDS}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def main() -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="file to write")
    parser.add_argument("--site-packages", type=Path, required=True, help="folder of the Python packages")
    parser.add_argument("--debian", type=Path, help="lines of dpkg-query (default: those of this machine)")
    parser.add_argument("--distribution", default="debian-12", help="as purl names it")
    parser.add_argument("--reports", type=Path, help="folder of reports of `pip install --report`")
    parser.add_argument("--wheel", type=Path, help="semconv's own wheel")
    arguments = parser.parse_args()
    try:
        hashes = installed_hashes(sorted(arguments.reports.glob("*.json")) if arguments.reports else [])
        components = python_components(arguments.site_packages, hashes)
        main_component = subject(components, arguments.wheel, os.environ.get("SEMCONV_COMMIT") or "unknown")
        components += debian_components(debian_listing(arguments.debian), arguments.distribution)
        text = bill(main_component, components, int(os.environ.get("SOURCE_DATE_EPOCH") or 0))
        write_text(arguments.target, text)
    except (InputError, OSError) as error:
        print(f"semconv: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{arguments.target}: {len(components)} components of {main_component.name} {main_component.version}")


if __name__ == "__main__":
    main()
