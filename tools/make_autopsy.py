"""Make the autopsy report in ``examples/case-002`` again. Everything in it is invented.

As :mod:`make_examples`, whose layout it uses: needs ``pillow`` and ``reportlab``::

    venv/bin/python tools/make_autopsy.py
"""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from make_examples import FONTS, LOCAL, NOTICE, SOFTWARE, body, grid, heading, text_style
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

TITLE: Final = "Informe de autopsia F-01"
TIME: Final = datetime(2021, 5, 31, 12, 0, 0, tzinfo=LOCAL)
FACTS: Final = (
    ("Caso", "002"),
    ("Persona", "F-01, guarda del pozo comunal (inventada)"),
    ("Lugar", "Instituto de Medicina Legal de Ulvandría (inventado)"),
    ("Examen", "30 de mayo de 2021, de 09:10 a 11:45 (UTC-1)"),
    ("Examina", "M-03, con M-04"),
    ("Fotografías", "M-03/1 a M-03/12, entregadas aparte"),
)


def story() -> list[Any]:
    """Return the one page."""
    title = text_style("title", fontName="TextBold", fontSize=17, leading=22, spaceAfter=10)
    return [
        Paragraph(escape(TITLE), title),
        grid(FACTS, (45, 120), header=False),
        Spacer(1, 6 * mm),
        heading("1. Hallazgos"),
        *body(
            "Cuerpo de persona adulta, vestido. Las manos muestran marcas paralelas en ambas "
            "muñecas, de un ancho constante de 5 mm, anteriores a la muerte.",
            "La trayectoria de la lesión mortal va de atrás hacia delante y de arriba abajo. No "
            "hay en las manos ni en la ropa señales de un disparo hecho por la persona misma.",
        ),
        heading("2. Conclusiones"),
        *body(
            "Primera. Las muñecas estuvieron sujetas antes de la muerte. Segunda. Los hallazgos "
            "no concuerdan con un enfrentamiento. Tercera. El lugar no fue examinado: cuando se "
            "pidió, el terreno estaba allanado.",
        ),
        *body("Ulvandría, 31 de mayo de 2021. Firmado: M-03."),
    ]


def draw_footer(canvas: Any, _document: Any) -> None:
    """Draw the notice at the foot of the page."""
    canvas.saveState()
    canvas.setFont("TextItalic", 7.5)
    canvas.drawString(20 * mm, 12 * mm, f"{NOTICE} CC0 1.0.")
    canvas.restoreState()


def main() -> None:
    """Write the PDF."""
    os.environ["SOURCE_DATE_EPOCH"] = str(int(TIME.timestamp()))
    for name, file in FONTS.items():
        pdfmetrics.registerFont(TTFont(name, file))
    path = Path(__file__).resolve().parent.parent / "examples/case-002/informe-autopsia-F-01.pdf"
    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        **dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 20 * mm),
        invariant=1,
        lang="es",
        initialFontName="Text",
        title=TITLE,
        author="M-03",
        subject=f"{NOTICE} CC0 1.0.",
        creator=SOFTWARE,
        producer=SOFTWARE,
    )
    document.build(story(), onFirstPage=draw_footer)


if __name__ == "__main__":
    main()
