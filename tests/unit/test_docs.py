"""Pages made from declarations must be what the declarations say today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cells.refusals import with_refusals
from support.causes_page import with_causes

from qltui.runs.diagnosis.causes import BY_ID

ROOT = Path(__file__).parents[2]


def test_the_page_of_fields_is_up_to_date() -> None:
    command = [sys.executable, "-m", "qltui", "config", "--markdown"]
    fields = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs" / "config.md").read_text()
    assert page.endswith(fields), "docs/config.md is out of date: run `make docs`"


def test_the_table_of_refusals_is_up_to_date() -> None:
    page = (ROOT / "docs" / "strategies.md").read_text()
    assert with_refusals(page) == page, "docs/strategies.md is out of date: run `make docs`"


def test_the_table_of_causes_is_up_to_date() -> None:
    page = (ROOT / "docs" / "diagnosis.md").read_text()
    assert with_causes(page) == page, "docs/diagnosis.md is out of date: run `make docs`"
    assert all(f"| `{cause}` |" in page for cause in BY_ID)


def test_readme_and_docs_link_to_files_that_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name} links to {link}"
