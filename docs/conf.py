"""Sphinx's configuration; `make docs` builds the site into build/site."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # sitegen, and tests for its layers

import gatewise

project = "gatewise"
author = "The gatewise developers"
copyright = author
version = release = gatewise.__version__

extensions = ["myst_parser", "sitegen.extension"]
exclude_patterns = ["generated/fragments", "sitegen"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!gatewise\.).*")]  # other packages' names: their inventories are not fetched
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries = False
highlight_language = "none"

html_theme = "furo"
html_title = f"gatewise {version}"
html_static_path = ["static"]
html_css_files = ["gatewise.css"]
html_copy_source = False
html_show_copyright = False
