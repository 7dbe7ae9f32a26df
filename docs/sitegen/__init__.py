"""What the documentation site generates from gatewise itself, at build time.

`public` and `docstrings` read the library; `api`, `catalogue`, `layers` and `gallery` write Markdown pages from it;
`pictures` measures and draws; `extension` is the door to Sphinx. Only the last needs Sphinx.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
