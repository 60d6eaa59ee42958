"""Item factors of collaborative filtering: read from a table, or computed from who listened to what how often."""

from pathlib import Path

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from ssl_music.catalogs.labels import Cell, Sheet, read_sheet, text
from ssl_music.errors import UserError

#: the columns of a table of factors that are not factors, and those of a table of counts
TRACK, USER, COUNT = "track", "user", "count"
ALPHA, EPSILON, REGULARIZATION, ITERATIONS = 2.0, 1e-6, 0.01, 15


def read_factors(path: Path | str) -> dict[str, np.ndarray]:
    """The factors of a CSV or Parquet file: its column `track` has ids, all others are numbers. Id → (K,) float32.

    A column may hold lists of numbers (Parquet).

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "factors.csv"
    >>> _ = file.write_text("track,1,2\\na.ogg,0.5,-1\\nb.ogg,0,2\\n")
    >>> read_factors(file)["a.ogg"]
    array([ 0.5, -1. ], dtype=float32)
    """
    sheet = read_sheet(path, path_column=None)
    sheet.require([TRACK])
    names = [name for name in sheet.names if name != TRACK]
    if not names:
        raise UserError(f"{sheet.path}: no column beside {TRACK!r}; every other column is a factor, in numbers")
    found: dict[str, np.ndarray] = {}
    for row in sheet.rows:
        track = text(row[TRACK])
        if track in found:
            raise UserError(f"{sheet.path}: more than one row for the track {track!r}; one row is one track")
        numbers = [number for name in names for number in _numbers(sheet, row[name], f"{name!r} of {track!r}")]
        found[track] = np.array(numbers, np.float32)
    if len({len(numbers) for numbers in found.values()}) > 1:
        raise UserError(f"{sheet.path}: tracks have different numbers of factors; wanted as many for each")
    return found


def compute_factors(path: Path | str, dim: int) -> dict[str, np.ndarray]:
    """Weighted matrix factorisation of a table with the columns `user`, `track` and `count`: id → (dim,) float32.

    Hu, Koren & Volinsky 2008 ("Collaborative filtering for implicit feedback datasets"), by alternating least squares
    in the package `implicit`: preference is whether a user ever listened, confidence in it 1 + α log(1 + count / ε),
    as van den Oord et al. take it, with α = 2 and ε = 1e-6 from Dieleman's code. Regularisation and iterations are
    the package's. The seed is fixed and one thread computes: every process and every run gets the same factors.
    """
    sheet = read_sheet(path, path_column=None)
    sheet.require([USER, TRACK, COUNT])
    user_of: dict[str, int] = {}
    track_of: dict[str, int] = {}
    cells = []
    for row in sheet.rows:
        user, track = text(row[USER]), text(row[TRACK])
        (count,) = _numbers(sheet, row[COUNT], f"{COUNT!r} of {user!r} and {track!r}")
        if count < 0:
            raise UserError(f"{sheet.path}: {user!r} listened to {track!r} {count:g} times; wanted 0 or more")
        if count:
            cells.append((user_of.setdefault(user, len(user_of)), track_of.setdefault(track, len(track_of)), count))
    if not 1 <= dim <= min(len(user_of), len(track_of)):
        raise UserError(
            f"{sheet.path}: {dim} factors of {len(user_of)} users and {len(track_of)} tracks; wanted dim from 1 to "
            "the smaller of the two"
        )
    users, tracks, counts = (np.array(column) for column in zip(*cells, strict=True))
    heard = sparse.csr_matrix((counts, (users, tracks)), (len(user_of), len(track_of)))
    # a pair that stands there twice has been added up by now
    heard.data = (1 + ALPHA * np.log1p(heard.data / EPSILON)).astype(np.float32)
    with threadpool_limits(1):
        model = _least_squares()(
            factors=dim, regularization=REGULARIZATION, iterations=ITERATIONS, random_state=0, num_threads=1
        )
        model.fit(heard, show_progress=False)
    return dict(zip(track_of, np.asarray(model.item_factors, np.float32), strict=True))


def _numbers(sheet: Sheet, cell: Cell, place: str) -> list[float]:
    try:
        numbers = [float(part) for part in (cell if isinstance(cell, tuple) else (cell,))]
    except ValueError:
        numbers = [np.nan]
    if not np.isfinite(numbers).all():
        raise UserError(f"{sheet.path}: {place} is {text(cell)!r}; wanted a number")
    return numbers


def _least_squares() -> type:
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        raise UserError(
            "factors from counts need the package implicit: pip install 'ssl-music[collaborative]', or give factors"
        ) from error
    return AlternatingLeastSquares
