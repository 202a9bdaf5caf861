"""Makes the film of the README: `make up` in a terminal, then a digit on the page.

`python -m tools.film` (or `make film`) records a real run and real screenshots, and writes one SVG
that moves by itself, without a script.
"""
