"""How Sphinx builds the site: ``make docs``. Nothing is loaded from other hosts, by the build or by its pages."""

from __future__ import annotations

import sys
from pathlib import Path

from asyncjobs import __version__

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "asyncjobs"
author = "the asyncjobs authors"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "outside", "pictures", "signatures"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extensions", "_figures", "_reference", "_shots", "figures"]
nitpicky = True  # a reference that leads nowhere is an error

_OTHERS = "anyio|asyncio|collections|concurrent|contextlib|datetime|httpx|msgspec|networkx|os|pathlib|starlette|types"
nitpick_ignore_regex = [
    ("py:.*", rf"({_OTHERS})\..*"),  # of others: no page of theirs is asked for
    ("py:class", r"(.*\.)?(T\d?|T_co|F|P|In|Out|Next)"),  # type variables
    (
        "py:class",
        r"(Types|OnReset|Steps|Asking|AnswerType|Submit|Noted|Response|Request|DiGraph|Clock|Transport)",
    ),  # aliases
    ("py:class", r"(dict|tuple)\[str"),  # a union that Sphinx cuts in two
    (
        "py:class",
        r"(asyncjobs\.runtime\..*|WebApp|WebSettings|RemoteJobs|LoopHandle|Lender|HandleAccess)",
    ),  # what no program makes
    ("py:class", r"random\.Random"),
]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3  # links to headings are those of the sources

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]
html_favicon = "_static/icon.svg"
html_js_files = [("accessible.js", {"defer": "defer"})]
pygments_dark_style = "github-dark"  # Furo's own underlines modules, as if they were links
html_title = "asyncjobs"
html_copy_source = False
html_show_copyright = html_show_sphinx = False
