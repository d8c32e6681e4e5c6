"""Make the sample files in ``examples/case-001`` again, from nothing.

The files tell one small invented case: a machine pulls down the well house of an
invented village, Zurmelía. No place, person or event in them is real, and the
coordinates lie in the open sea.

Needs:

* ``ffmpeg`` with libx264, on the PATH;
* the Python packages ``pillow`` and ``reportlab`` (only for this script)::

      python -m venv venv
      venv/bin/pip install pillow reportlab
      venv/bin/python tools/make_examples.py [--out examples]

With the same versions of these tools, two runs give the same bytes: every date is
fixed and the random numbers are seeded. Other versions may compress the pictures,
the video or the PDF differently.
"""

# reportlab has no type information, and neither library is a dependency of the project.
# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import math
import os
import random
import struct
import subprocess
import tempfile
import unicodedata
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from PIL import ExifTags, Image, ImageDraw, TiffTags
from PIL.TiffImagePlugin import IFDRational
from reportlab.graphics.shapes import (
    Circle,
    Drawing,
    Line,
    Polygon,
    Rect,
    String,
)
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

# --------------------------------------------------------------------------- the case

SOFTWARE: Final = "make_examples.py"
NOTICE: Final = "Caso inventado. Ningún lugar, persona o hecho es real."
LOCAL: Final = timezone(timedelta(hours=-1))

VIDEO_TIME: Final = datetime(2021, 5, 9, 6, 41, 0, tzinfo=LOCAL)
PHOTO_TIME: Final = datetime(2021, 5, 9, 7, 15, 20, tzinfo=LOCAL)
MAIL_TIME: Final = datetime(2021, 5, 9, 9, 2, 11, tzinfo=LOCAL)
REPORT_TIME: Final = datetime(2021, 5, 11, 16, 30, 0, tzinfo=LOCAL)

# Degrees, minutes and seconds of a point in the open sea.
LATITUDE: Final = ("S", (31, 12, 36))
LONGITUDE: Final = ("W", (20, 24, 18))
ALTITUDE_M: Final = 12

PHOTO: Final = "media/pozo-comunal.jpg"
VIDEO: Final = "media/derribo-caseta.mp4"
SOUND: Final = "media/campana-alarma.wav"
REPORT: Final = "documents/informe-inspeccion.pdf"
MAIL: Final = "documents/aviso-fotografia.eml"
STATEMENT: Final = "statements/declaración-T01.txt"

STATEMENT_TEXT: Final = """\
DECLARACIÓN DE LA PERSONA TESTIGO T01
Caso 001 · Aldea de Zurmelía, comarca de Ulvandría
Tomada el 12 de mayo de 2021, de 10:05 a 10:40, en la escuela de la aldea
Idioma: español. La persona pide que no conste su nombre.

Vivo en Zurmelía desde niña, a unos treinta pasos del pozo comunal. La caseta del
pozo la levantaron entre varias familias; guardaba la bomba y los cubos, y cada casa
tenía una llave. Nadie más que nosotros la usaba.

El 9 de mayo me desperté antes de las seis y media. Oí un motor que subía por el
camino viejo, el de la cañada. Era un ruido grave, como de máquina de obra. Me asomé
a la ventana y vi una excavadora amarilla, sin matrícula y sin letrero. Conducía una
sola persona; llevaba casco y no le vi la cara.

A las siete menos veinte, más o menos, la máquina llegó junto a la caseta y empujó la
pared del lado este. La pared cayó hacia dentro. Después se levantó mucho polvo y ya
no distinguí nada más. Alguien tocó la campana de alarma: tres golpes, luego una
pausa. Yo grabé unos segundos con el teléfono, desde la ventana.

Nadie resultó herido. La excavadora se marchó por donde había venido, en menos de un
cuarto de hora. A las siete y cuarto bajé con una vecina y ella hizo la fotografía. El
brocal del pozo seguía entero, pero la bomba quedó debajo de los cascotes.

Dos semanas antes habían dejado un aviso clavado en la puerta: decía que el pozo
«no figuraba en el plano». No llevaba firma ni sello. Lo guardé y puedo entregarlo.

He oído la lectura de esta declaración, estoy conforme y no deseo añadir nada. Acepto
que se conserve en el archivo del caso. No acepto que se publique mi voz ni mi casa.

T01

----
Caso inventado. Ningún lugar, persona o hecho de este texto es real. CC0 1.0.
"""

MAIL_TEXT: Final = """\
Buenos días:

Les avisamos de que esta mañana, hacia las 06:40, una máquina derribó la caseta del
pozo comunal de Zurmelía. No hay personas heridas.

A las 07:15 hicimos una fotografía del lugar. No la enviamos por correo para no
perder sus metadatos: la entregaremos en mano, en una tarjeta de memoria. Adjuntamos
una lista con el nombre del archivo y su suma SHA-256, para que puedan comprobar que
lo que reciben es lo mismo que tenemos hoy.

Un saludo,
Vecindad de Zurmelía

--
Caso inventado. Ningún lugar, persona o hecho de este mensaje es real. CC0 1.0.
"""


def dms_to_decimal(ref: str, dms: tuple[int, int, int]) -> float:
    """Return degrees, minutes and seconds as signed decimal degrees."""
    degrees, minutes, seconds = dms
    value = degrees + minutes / 60 + seconds / 3600
    return -value if ref in "SW" else value


# -------------------------------------------------------------------------- the scene

Colour = tuple[int, int, int]
Point = tuple[float, float]

SKY_TOP: Final[Colour] = (92, 124, 168)
SKY_LOW: Final[Colour] = (247, 205, 160)
GROUND_FAR: Final[Colour] = (150, 132, 92)
GROUND_NEAR: Final[Colour] = (112, 88, 58)
HILLS: Final[tuple[tuple[float, float, float, Colour], ...]] = (
    (0.40, 0.050, 5.0, (138, 140, 160)),
    (0.46, 0.040, 8.0, (104, 116, 118)),
    (0.51, 0.025, 11.0, (86, 98, 78)),
)
HORIZON: Final = 0.54
WALL: Final[Colour] = (206, 190, 164)
WALL_SHADE: Final[Colour] = (160, 144, 120)
ROOF: Final[Colour] = (150, 78, 56)
DARK: Final[Colour] = (48, 42, 40)
YELLOW: Final[Colour] = (222, 170, 42)


@dataclass(frozen=True)
class SceneState:
    """What stands in the scene: the well house, a machine, dust, a scale rod."""

    house_fallen: bool
    machine_x: float | None = None
    dust: float = 0.0
    scale_rod: bool = False


class Canvas:
    """A picture drawn in unit coordinates, twice as large and then reduced."""

    SCALE: Final = 2

    def __init__(self, width: int, height: int) -> None:
        """Start an empty picture of the given final size."""
        self.size = (width, height)
        self.w = width * self.SCALE
        self.h = height * self.SCALE
        self.image = Image.new("RGB", (self.w, self.h))
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def polygon(self, points: Sequence[Point], fill: Colour, alpha: int = 255) -> None:
        """Fill a polygon."""
        self.draw.polygon([(x * self.w, y * self.h) for x, y in points], fill=(*fill, alpha))

    def box(self, x: float, y: float, w: float, h: float, fill: Colour) -> None:
        """Fill an upright rectangle whose upper left corner is (x, y)."""
        self.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], fill)

    def oval(
        self, x: float, y: float, rx: float, ry: float, fill: Colour, alpha: int = 255
    ) -> None:
        """Fill an ellipse centred on (x, y)."""
        corners = ((x - rx) * self.w, (y - ry) * self.h, (x + rx) * self.w, (y + ry) * self.h)
        self.draw.ellipse(corners, fill=(*fill, alpha))

    def gradient(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """Fill the band between two heights with a vertical gradient."""
        start, stop = int(top * self.h), int(bottom * self.h)
        for row in range(start, stop):
            fill = mix(first, last, (row - start) / max(1, stop - start))
            self.draw.line([(0, row), (self.w, row)], fill=fill)

    def finish(self) -> Image.Image:
        """Return the picture in its final size."""
        return self.image.resize(self.size, Image.Resampling.LANCZOS)


def mix(first: Colour, last: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from `first` to `last`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, last, strict=True))
    return red, green, blue


def draw_scene(width: int, height: int, state: SceneState) -> Image.Image:
    """Draw the well of Zurmelía at dawn, in the given state."""
    canvas = Canvas(width, height)
    draw_land(canvas)
    if state.house_fallen:
        draw_tracks(canvas)
        draw_rubble(canvas)
    else:
        draw_house(canvas)
    draw_well(canvas)
    if state.machine_x is not None:
        draw_machine(canvas, state.machine_x)
    if state.dust > 0:
        draw_dust(canvas, state.dust)
    if state.scale_rod:
        draw_scale_rod(canvas)
    return canvas.finish()


def draw_land(canvas: Canvas) -> None:
    """Draw the sky, the sun, the hills and the ground."""
    canvas.gradient(0, HORIZON, SKY_TOP, SKY_LOW)
    for radius, alpha in ((0.075, 50), (0.055, 80), (0.036, 255)):
        canvas.oval(0.22, 0.36, radius, radius * 1.5, (255, 236, 196), alpha)
    for base, swing, waves, fill in HILLS:
        ridge = [(i / 80, base + swing * math.sin(waves * i / 80 + base * 20)) for i in range(81)]
        canvas.polygon([*ridge, (1, 1), (0, 1)], fill)
    canvas.gradient(HORIZON, 1, GROUND_FAR, GROUND_NEAR)
    rng = random.Random(1)
    for _ in range(420):
        y = HORIZON + (1 - HORIZON) * rng.random() ** 0.7
        size = 0.0015 + 0.006 * (y - HORIZON)
        shade = mix(GROUND_FAR, DARK, rng.random() * 0.6)
        canvas.oval(rng.random(), y, size * 1.6, size, shade, 130)


def draw_tracks(canvas: Canvas) -> None:
    """Draw two tracks of a machine that came from the right."""
    for offset in (0.0, 0.07):
        for step in range(26):
            share = step / 25
            x, y = 0.68 + 0.34 * share, 0.76 + offset + 0.10 * share
            width = 0.010 + 0.004 * share
            corners = [(x, y), (x + width, y + 0.004), (x + width - 0.006, y + 0.03)]
            canvas.polygon([*corners, (x - 0.006, y + 0.026)], (82, 64, 44), 190)


def draw_house(canvas: Canvas) -> None:
    """Draw the well house, whole."""
    canvas.box(0.44, 0.46, 0.20, 0.26, WALL)
    canvas.polygon([(0.64, 0.46), (0.70, 0.44), (0.70, 0.68), (0.64, 0.72)], WALL_SHADE)
    canvas.polygon([(0.42, 0.47), (0.48, 0.36), (0.68, 0.36), (0.72, 0.45), (0.64, 0.47)], ROOF)
    canvas.box(0.50, 0.54, 0.06, 0.18, (84, 62, 44))


def draw_rubble(canvas: Canvas) -> None:
    """Draw what is left of the well house: a broken wall, a beam, a heap of blocks."""
    edge = [(0.44, 0.47), (0.50, 0.45), (0.52, 0.52), (0.55, 0.51), (0.57, 0.62), (0.60, 0.66)]
    canvas.polygon([*edge, (0.60, 0.72), (0.44, 0.72)], WALL)
    canvas.box(0.49, 0.56, 0.045, 0.16, (84, 62, 44))
    canvas.polygon([(0.46, 0.43), (0.475, 0.42), (0.74, 0.70), (0.725, 0.715)], (98, 66, 44))
    rng = random.Random(7)
    for index in range(120):
        spread = rng.gauss(0, 1)
        x = 0.635 + 0.055 * spread
        y = 0.755 - 0.11 * math.exp(-spread * spread) * rng.random()
        size = 0.008 + 0.014 * rng.random()
        fill = mix(ROOF if index % 4 == 0 else WALL, DARK, 0.5 * rng.random())
        turn = rng.random() * math.pi
        corners = [
            (x + size * math.cos(turn + k * 1.57), y + 1.3 * size * math.sin(turn + k * 1.57))
            for k in range(4)
        ]
        canvas.polygon(corners, fill)


def draw_well(canvas: Canvas) -> None:
    """Draw the round stone kerb of the well, which stays whole."""
    canvas.oval(0.30, 0.865, 0.115, 0.06, (70, 56, 40), 120)
    canvas.oval(0.29, 0.83, 0.095, 0.062, (128, 120, 110))
    canvas.box(0.195, 0.745, 0.19, 0.085, (128, 120, 110))
    for row in range(3):
        for column in range(7):
            x = 0.197 + 0.027 * column + 0.012 * (row % 2)
            fill = mix((176, 168, 156), (112, 104, 96), (column * 5 + row * 3) % 7 / 7)
            canvas.box(x, 0.756 + 0.034 * row, min(0.022, 0.383 - x), 0.027, fill)
    canvas.oval(0.29, 0.745, 0.095, 0.045, (188, 180, 168))
    canvas.oval(0.29, 0.745, 0.072, 0.031, DARK)


def draw_machine(canvas: Canvas, x: float) -> None:
    """Draw a yellow digger whose bucket is at `x`."""
    canvas.box(x + 0.13, 0.70, 0.22, 0.07, DARK)
    for wheel in range(4):
        canvas.oval(x + 0.155 + 0.056 * wheel, 0.735, 0.020, 0.028, (104, 98, 92))
    canvas.box(x + 0.16, 0.58, 0.20, 0.12, YELLOW)
    canvas.box(x + 0.17, 0.47, 0.09, 0.12, YELLOW)
    canvas.box(x + 0.18, 0.49, 0.07, 0.07, (150, 182, 196))
    canvas.polygon([(x + 0.16, 0.60), (x + 0.06, 0.42), (x + 0.08, 0.40), (x + 0.18, 0.58)], YELLOW)
    canvas.polygon(
        [(x + 0.06, 0.42), (x + 0.02, 0.60), (x + 0.04, 0.61), (x + 0.085, 0.43)], YELLOW
    )
    canvas.polygon([(x, 0.58), (x + 0.05, 0.58), (x + 0.06, 0.67), (x + 0.01, 0.66)], DARK)


def draw_dust(canvas: Canvas, amount: float) -> None:
    """Draw a cloud of dust; `amount` goes from 0 to 1."""
    rng = random.Random(3)
    for _ in range(40):
        x = 0.62 + 0.10 * rng.gauss(0, 1) * (0.5 + amount)
        y = 0.72 - 0.22 * rng.random() * amount
        radius = (0.02 + 0.05 * rng.random()) * (0.4 + amount)
        canvas.oval(x, y, radius, radius * 1.3, (198, 180, 150), 70)


def draw_scale_rod(canvas: Canvas) -> None:
    """Draw a red and white rod of two metres, in ten parts."""
    for part in range(10):
        fill = (196, 44, 40) if part % 2 == 0 else (244, 244, 240)
        canvas.box(0.425, 0.54 + 0.022 * part, 0.008, 0.022, fill)


# --------------------------------------------------------------------------- the photo


PHOTO_SIZE: Final = (960, 640)


def gps_rationals(dms: tuple[int, int, int]) -> tuple[IFDRational, ...]:
    """Return degrees, minutes and seconds as EXIF wants them."""
    return tuple(IFDRational(part, 1) for part in dms)


def declare_components_tag() -> None:
    """Tell Pillow the EXIF type of ComponentsConfiguration, which it does not know."""
    tag = int(ExifTags.Base.ComponentsConfiguration)
    info = TiffTags.TagInfo(tag, "ComponentsConfiguration", TiffTags.UNDEFINED, 1)
    TiffTags.TAGS_V2_GROUPS[int(ExifTags.IFD.Exif)][tag] = info


def photo_exif() -> Image.Exif:
    """Return the EXIF data of the photo: camera, dates, rights."""
    stamp = PHOTO_TIME.strftime("%Y:%m:%d %H:%M:%S")
    exif = Image.Exif()
    base = ExifTags.Base
    declare_components_tag()
    exif[base.ImageDescription] = "Invented case: fallen well house. No real place or event."
    exif[base.Make] = "Invented"
    exif[base.Model] = "Example Camera 1"
    exif[base.Orientation] = 1
    exif[base.XResolution] = exif[base.YResolution] = IFDRational(72, 1)
    exif[base.ResolutionUnit] = 2
    exif[base.YCbCrPositioning] = 1
    exif[base.Software] = SOFTWARE
    exif[base.DateTime] = stamp
    exif[base.Copyright] = "CC0 1.0"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[base.ExifVersion] = b"0232"
    details[base.DateTimeOriginal] = details[base.DateTimeDigitized] = stamp
    details[base.OffsetTimeOriginal] = details[base.OffsetTimeDigitized] = "-01:00"
    details[base.ComponentsConfiguration] = b"\x01\x02\x03\x00"
    details[base.FlashPixVersion] = b"0100"
    details[base.ColorSpace] = 1
    details[base.ExifImageWidth], details[base.ExifImageHeight] = PHOTO_SIZE
    return exif


def add_place(exif: Image.Exif) -> None:
    """Add the GPS data: where and, in UTC, when."""
    utc = PHOTO_TIME.astimezone(UTC)
    gps = ExifTags.GPS
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[gps.GPSVersionID] = b"\x02\x03\x00\x00"
    place[gps.GPSLatitudeRef], place[gps.GPSLatitude] = LATITUDE[0], gps_rationals(LATITUDE[1])
    place[gps.GPSLongitudeRef], place[gps.GPSLongitude] = LONGITUDE[0], gps_rationals(LONGITUDE[1])
    place[gps.GPSAltitudeRef], place[gps.GPSAltitude] = b"\x00", IFDRational(ALTITUDE_M, 1)
    place[gps.GPSTimeStamp] = gps_rationals((utc.hour, utc.minute, utc.second))
    place[gps.GPSDateStamp] = utc.strftime("%Y:%m:%d")
    place[gps.GPSMapDatum] = "WGS-84"


def make_photo(path: Path) -> None:
    """Write the JPEG: the scene after the fall, with a scale rod."""
    picture = draw_scene(*PHOTO_SIZE, SceneState(house_fallen=True, scale_rod=True))
    exif = photo_exif()
    add_place(exif)
    picture.save(path, "JPEG", quality=84, optimize=True, exif=exif, dpi=(72, 72))


# --------------------------------------------------------------------------- the sounds


def write_wav(path: Path, samples: Sequence[float], rate: int) -> None:
    """Write samples between -1 and 1 as a 16-bit mono WAV file."""
    values = [round(32767 * max(-1.0, min(1.0, sample))) for sample in samples]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(struct.pack(f"<{len(values)}h", *values))


def bell(age: float) -> float:
    """Return the sound of a bell, `age` seconds after it was struck."""
    if age < 0:
        return 0.0
    partials = ((440.0, 1.0, 2.2), (880.0, 0.6, 3.0), (1056.0, 0.5, 3.6), (1320.0, 0.35, 5.0))
    return sum(
        level * math.exp(-fade * age) * math.sin(math.tau * hz * age)
        for hz, level, fade in partials
    )


def make_sound(path: Path) -> None:
    """Write the WAV: three strokes of the alarm bell."""
    rate = 8000
    strokes = (0.05, 0.60, 1.15)
    times = [index / rate for index in range(2 * rate)]
    write_wav(path, [0.3 * sum(bell(time - start) for start in strokes) for time in times], rate)


def make_engine_sound(path: Path, seconds: float) -> None:
    """Write the sound track of the video: an engine, then a fall."""
    rate = 22050
    rng = random.Random(5)
    samples = []
    for index in range(round(seconds * rate)):
        time = index / rate
        engine = sum(math.sin(math.tau * 42 * k * time) / k for k in range(1, 6))
        fall = math.exp(-3 * (time - FALL_TIME)) if time >= FALL_TIME else 0.0
        samples.append(0.14 * engine + 0.5 * fall * rng.uniform(-1, 1))
    write_wav(path, samples, rate)


# ---------------------------------------------------------------------------- the video

FRAME_SIZE: Final = (360, 240)
FRAME_RATE: Final = 12
FRAME_COUNT: Final = 30
FALL_TIME: Final = 1.6


def video_state(frame: int) -> SceneState:
    """Return the scene at a frame: the digger comes, the wall falls, dust rises."""
    time = frame / FRAME_RATE
    fallen = time >= FALL_TIME
    position = max(0.70, 1.0 - 0.19 * time)
    dust = min(1.0, (time - FALL_TIME) * 1.4 + 0.3) if fallen else 0.0
    return SceneState(house_fallen=fallen, machine_x=position, dust=dust)


def video_command(sound: Path, target: Path) -> list[str]:
    """Return the ffmpeg command that reads frames from standard input."""
    width, height = FRAME_SIZE
    place = f"{dms_to_decimal(*LATITUDE):+08.4f}{dms_to_decimal(*LONGITUDE):+09.4f}/"
    exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    frames = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    created = VIDEO_TIME.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    return [
        *("ffmpeg", "-nostdin", "-v", "error", "-y"),
        *(*frames, "-r", str(FRAME_RATE), "-i", "pipe:0", "-i", str(sound)),
        *("-map", "0:v", "-map", "1:a", "-map_metadata", "-1"),
        *("-c:v", "libx264", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-crf", "26"),
        *("-threads", "1", "-bsf:v", "filter_units=remove_types=6"),
        *("-c:a", "aac", "-b:a", "48k", "-ac", "1"),
        *exact,
        *("-metadata", f"creation_time={created}", "-metadata", f"location={place}"),
        *("-metadata", "title=Derribo de la caseta (caso inventado)"),
        *("-metadata", "copyright=CC0 1.0", "-movflags", "+faststart"),
        *("-f", "mp4", str(target)),
    ]


def make_video(path: Path) -> None:
    """Write the MP4: H.264 picture, AAC sound, a creation time and a place."""
    frames = b"".join(
        draw_scene(*FRAME_SIZE, video_state(frame)).tobytes() for frame in range(FRAME_COUNT)
    )
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "engine.wav")
        make_engine_sound(sound, FRAME_COUNT / FRAME_RATE)
        subprocess.run(video_command(sound, path), input=frames, check=True)


# ----------------------------------------------------------------------------- the mail


def photo_list(photo: Path) -> bytes:
    """Return a small CSV table with the name, the time and the SHA-256 of the photo."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["archivo", "fecha", "sha256"])
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    writer.writerow([photo.name, PHOTO_TIME.isoformat(), digest])
    return table.getvalue().encode()


def make_mail(path: Path, photo: Path) -> None:
    """Write the e-mail, with the list of photos attached and CRLF line ends."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Vecindad de Zurmelía <vecindad@example.org>"
    mail["To"] = "Archivo del caso <archivo@example.com>"
    mail["Subject"] = "Caseta del pozo de Zurmelía: aviso y relación de fotografías"
    mail["Date"] = format_datetime(MAIL_TIME)
    mail["Message-ID"] = "<20210509090211.caso001@example.org>"
    mail["Content-Language"] = "es"
    mail.set_content(MAIL_TEXT, cte="quoted-printable")
    mail.add_attachment(
        photo_list(photo),
        maintype="text",
        subtype="csv",
        filename="lista-de-fotografias.csv",
        params={"charset": "utf-8"},
    )
    mail.set_boundary("=_caso001_7c1f0a5e")
    path.write_bytes(mail.as_bytes())


# ------------------------------------------------------------------------ the statement


def make_statement(path: Path) -> None:
    """Write the witness statement: UTF-8, NFC, LF line ends."""
    path.write_bytes(unicodedata.normalize("NFC", STATEMENT_TEXT).encode())


# --------------------------------------------------------------------------- the report

REPORT_TITLE: Final = "Informe de inspección: caseta del pozo comunal de Zurmelía"
FONTS: Final = {"Text": "Vera.ttf", "TextBold": "VeraBd.ttf", "TextItalic": "VeraIt.ttf"}

REPORT_FACTS: Final = (
    ("Caso", "001"),
    ("Lugar", "Aldea de Zurmelía, comarca de Ulvandría (inventadas)"),
    ("Objeto", "Caseta del pozo comunal, una planta, muros de bloque y teja"),
    ("Fecha del hecho", "9 de mayo de 2021, hacia las 06:40 (UTC-1)"),
    ("Fecha de la inspección", "10 de mayo de 2021, de 11:00 a 13:20"),
    ("Inspección a cargo de", "I-02, con apoyo de I-05"),
    ("Coordenadas", "31° 12' 36\" S, 20° 24' 18\" O (mar abierto, a propósito)"),
)
REPORT_MEASURES: Final = (
    ("Marca", "Elemento", "Medida", "Observación"),
    ("A", "Brocal del pozo", "1,90 m de diámetro", "Entero, sin grietas nuevas"),
    ("B", "Muro oeste", "2,20 m de alto en pie", "Rotura en escalera"),
    ("C", "Muro este", "0 m en pie", "Caído hacia el interior"),
    ("D", "Montón de cascotes", "3,4 m por 2,1 m", "Cubre la bomba"),
    ("E", "Rodadas", "2 bandas, 2,30 m entre ejes", "Vienen del este y vuelven"),
)
REPORT_SOURCES: Final = (
    ("Archivo", "Qué es", "Fecha y hora"),
    ("pozo-comunal.jpg", "Fotografía del lugar con jalón de 2 m", "09-05-2021 07:15:20"),
    ("derribo-caseta.mp4", "Vídeo breve hecho por T01", "09-05-2021 06:41:00"),
    ("campana-alarma.wav", "Sonido de la campana de alarma", "09-05-2021, sin hora"),
    ("aviso-fotografia.eml", "Correo con la suma de la fotografía", "09-05-2021 09:02:11"),
    ("declaración-T01.txt", "Declaración de la persona testigo T01", "12-05-2021, prevista"),
)


def text_style(name: str, **settings: Any) -> ParagraphStyle:
    """Return a paragraph style of the report."""
    defaults: dict[str, Any] = {"fontName": "Text", "fontSize": 9.5, "leading": 14, "spaceAfter": 7}
    return ParagraphStyle(name, **(defaults | settings))


def heading(text: str) -> Paragraph:
    """Return a section heading."""
    style = text_style("heading", fontName="TextBold", fontSize=12, leading=17, spaceBefore=8)
    return Paragraph(escape(text), style)


def body(*paragraphs: str) -> list[Paragraph]:
    """Return paragraphs of running text."""
    style = text_style("body")
    return [Paragraph(escape(text), style) for text in paragraphs]


def grid(rows: Sequence[Sequence[str]], widths_mm: Sequence[int], header: bool) -> Table:
    """Return a ruled table; the first row (or else the first column) is in bold."""
    cell: dict[str, Any] = {"fontSize": 8.5, "leading": 11, "spaceAfter": 0}
    plain = text_style("cell", **cell)
    bold = text_style("cell-bold", fontName="TextBold", **cell)
    cells = [
        [
            Paragraph(escape(text), bold if (r == 0 if header else c == 0) else plain)
            for c, text in enumerate(row)
        ]
        for r, row in enumerate(rows)
    ]
    first, last = (0, 0), (-1, -1)
    rules: list[tuple[Any, ...]] = [
        ("FONTNAME", first, last, "Text"),
        ("GRID", first, last, 0.4, colors.grey),
        ("VALIGN", first, last, "TOP"),
    ]
    return Table(cells, colWidths=[width * mm for width in widths_mm], style=rules)


def sketch_plan() -> Drawing:
    """Return the sketch plan of the site, not to scale, with the marks A to E."""
    plan = Drawing(160 * mm, 82 * mm, initialFontName="Text")
    plan.add(Rect(0, 0, 160 * mm, 82 * mm, fillColor=colors.whitesmoke, strokeColor=colors.grey))
    for offset in (28, 35):
        track = Line(88 * mm, offset * mm, 158 * mm, (offset - 14) * mm)
        track.strokeDashArray, track.strokeWidth = [4, 3], 2
        plan.add(track)
    plan.add(Rect(62 * mm, 26 * mm, 30 * mm, 36 * mm, fillColor=None, strokeDashArray=[2, 2]))
    plan.add(Rect(60 * mm, 26 * mm, 3 * mm, 36 * mm, fillColor=colors.dimgrey))
    heap = [(72, 28), (90, 30), (96, 42), (86, 54), (74, 50), (69, 38)]
    flat = [value * mm for point in heap for value in point]
    plan.add(Polygon(flat, fillColor=colors.tan, strokeColor=colors.saddlebrown))
    plan.add(Circle(30 * mm, 36 * mm, 11 * mm, fillColor=colors.lightgrey))
    plan.add(Circle(30 * mm, 36 * mm, 8 * mm, fillColor=colors.lightblue))
    marks = (("A", 28, 50), ("B", 54, 54), ("C", 96, 54), ("D", 80, 39), ("E", 126, 30))
    for mark, x, y in marks:
        plan.add(String(x * mm, y * mm, mark, fontName="TextBold", fontSize=12))
    plan.add(Line(148 * mm, 58 * mm, 148 * mm, 74 * mm, strokeWidth=1.5))
    plan.add(Polygon([145 * mm, 70 * mm, 151 * mm, 70 * mm, 148 * mm, 76 * mm]))
    plan.add(String(150 * mm, 60 * mm, "N", fontName="TextBold", fontSize=10))
    plan.add(String(4 * mm, 4 * mm, "Croquis sin escala", fontName="TextItalic", fontSize=8))
    return plan


def report_first_page() -> list[Any]:
    """Return the first page: what, where, when and why."""
    title = text_style("title", fontName="TextBold", fontSize=17, leading=22, spaceAfter=10)
    return [
        Paragraph(escape(REPORT_TITLE), title),
        grid(REPORT_FACTS, (45, 120), header=False),
        Spacer(1, 6 * mm),
        heading("1. Encargo"),
        *body(
            "Se pidió describir el estado de la caseta del pozo comunal después de su caída, "
            "medir lo que queda en pie y decir si los daños son compatibles con el empuje de "
            "una máquina. No se pidió atribuir responsabilidades y este informe no lo hace.",
        ),
        heading("2. Método"),
        *body(
            "Se recorrió el lugar de fuera hacia dentro, sin mover los cascotes. Se midió con "
            "cinta métrica y jalón de dos metros, y se anotó cada marca en el croquis de la "
            "página 2. Las horas se dan en hora local (UTC-1).",
            "El tiempo era seco, con viento flojo del oeste. No había llovido desde el hecho, "
            "por lo que las rodadas se conservaban bien.",
        ),
        heading("3. Resumen"),
        *body(
            "El muro este cayó hacia el interior y arrastró la cubierta. El brocal no tiene "
            "daños nuevos. La bomba está bajo los cascotes y no pudo examinarse. Los daños son "
            "compatibles con un empuje horizontal desde el este, a algo más de un metro de "
            "altura. No se apreciaron señales de fuego ni de hundimiento del suelo.",
        ),
    ]


def report_second_page() -> list[Any]:
    """Return the second page: the sketch plan and the measures."""
    return [
        heading("4. Croquis y medidas"),
        sketch_plan(),
        Spacer(1, 6 * mm),
        grid(REPORT_MEASURES, (16, 42, 50, 57), header=True),
        Spacer(1, 6 * mm),
        *body(
            "La distancia entre el centro del pozo (A) y el muro oeste (B) es de 3,2 m. Las "
            "rodadas (E) llegan a 0,4 m de la línea del muro este (C) y vuelven por el mismo "
            "lado. No hay rodadas entre la caseta y el pozo.",
        ),
    ]


def report_third_page() -> list[Any]:
    """Return the third page: the sources and the conclusions."""
    return [
        heading("5. Materiales del caso"),
        grid(REPORT_SOURCES, (47, 73, 45), header=True),
        Spacer(1, 6 * mm),
        heading("6. Conclusiones"),
        *body(
            "Primera. La caída de la caseta se debe a una fuerza horizontal aplicada desde el "
            "este. El modo de rotura del muro oeste y la posición de los cascotes coinciden.",
            "Segunda. Las rodadas son compatibles con una máquina de cadenas. Su anchura no "
            "basta para identificar el modelo.",
            "Tercera. La fotografía de las 07:15 muestra el mismo estado que se encontró en la "
            "inspección: nada indica que los restos se movieran entre una y otra.",
        ),
        heading("7. Límites"),
        *body(
            "No se levantaron los cascotes ni se tomaron muestras. La hora del hecho procede de "
            "los materiales del caso y no de la inspección.",
            "Zurmelía, 11 de mayo de 2021. Firmado: I-02.",
        ),
    ]


def draw_footer(canvas: Any, _document: Any) -> None:
    """Draw the notice and the page number at the foot of a page."""
    canvas.saveState()
    canvas.setFont("TextItalic", 7.5)
    canvas.drawString(20 * mm, 12 * mm, f"{NOTICE} CC0 1.0.")
    canvas.drawRightString(A4[0] - 20 * mm, 12 * mm, f"Página {canvas.getPageNumber()} de 3")
    canvas.restoreState()


def make_report(path: Path) -> None:
    """Write the PDF: three pages, embedded fonts, a title and a fixed date."""
    os.environ["SOURCE_DATE_EPOCH"] = str(int(REPORT_TIME.timestamp()))
    for name, file in FONTS.items():
        pdfmetrics.registerFont(TTFont(name, file))
    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        **dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 20 * mm),
        invariant=1,
        lang="es",
        initialFontName="Text",
        title=REPORT_TITLE,
        author="I-02",
        subject=f"{NOTICE} CC0 1.0.",
        keywords="caso 001, inspección, ejemplo",
        creator=SOFTWARE,
        producer=SOFTWARE,
        displayDocTitle=1,
    )
    pages = (report_first_page(), report_second_page(), report_third_page())
    story = [*pages[0], PageBreak(), *pages[1], PageBreak(), *pages[2]]
    document.build(story, onFirstPage=draw_footer, onLaterPages=draw_footer)


# ------------------------------------------------------------------------------ command


def make_all(case: Path) -> list[Path]:
    """Write every sample file of the case and return their paths."""
    photo = case / PHOTO
    makers: dict[str, Callable[[Path], None]] = {
        PHOTO: make_photo,
        VIDEO: make_video,
        SOUND: make_sound,
        REPORT: make_report,
        MAIL: lambda path: make_mail(path, photo),
        STATEMENT: make_statement,
    }
    written = []
    for name, maker in makers.items():
        path = case / unicodedata.normalize("NFC", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        maker(path)
        written.append(path)
    return written


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(description="Make the sample files again.")
    default = Path(__file__).resolve().parent.parent / "examples"
    parser.add_argument("--out", type=Path, default=default, help="the examples folder")
    case = parser.parse_args().out / "case-001"
    for path in make_all(case):
        print(f"{path.stat().st_size:>8}  {path.relative_to(case.parent)}")


if __name__ == "__main__":
    main()
