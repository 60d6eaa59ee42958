"""The minimum of many logistic regressions at once, by truncated Newton.

A Newton step is found by conjugate gradients, which ask for no second derivatives but for their products with vectors
(Lin, Weng & Keerthi, JMLR 9, 2008), preconditioned (Hsia, Chiang & Lin, ACML 2018) by what the second derivatives
along the principal axes would be if every item had the same p(1 - p): diagonal.
"""

import numpy as np

from ssl_music.probe.logistic import Logistic, Point

#: the end: √(gᵀ P⁻¹ g) with the preconditioner P, whose square is about twice what the objective, in nats an item, is
#: above its minimum. Probabilities are then right to some 1e-6
DECREMENT = 3e-7
NEWTON_STEPS = 100
GRADIENT_STEPS = 300  #: of conjugate gradients within a Newton step, at most
FORCING = 0.1  #: how much of the gradient a Newton step may leave
ARMIJO = 1e-4  #: share of its slope that a step must descend (Nocedal & Wright 2006, section 3.1)
HALVINGS = 40
WORTH_NARROWING = 0.75  #: share of the tags still improved below which the others are no longer computed with them
TINY = np.finfo(np.float64).tiny


def minimise(problem: Logistic, start: Point) -> tuple[Point, bool]:
    """The minimum, searched from `start` on, and whether all tags have come there."""
    found, point = Point(*(array.copy() for array in start)), start
    tags = np.arange(start.weights.shape[1])  # that are not there yet
    for _ in range(NEWTON_STEPS):
        inverse = 1 / np.maximum(problem.axes.variances[:, None] * point.bend + problem.penalties, TINY)
        gradient = problem.gradient(point)
        decrement = np.sqrt(problem.inner(gradient, inverse * gradient))
        live = np.broadcast_to(decrement > DECREMENT, tags.shape)
        if not live.all():
            found.put(tags, point)
            if not live.any():
                return found, True
            tags, decrement, inverse = tags[live], decrement[live], inverse[:, live]
            problem, point = problem.only(live), point.only(live)
        # ever less, for the last steps to square what is left, but no less than the end asks for
        forcing = np.maximum(np.minimum(FORCING, decrement), DECREMENT / 2 / decrement)
        point = _descended(problem, point, _step(problem, point, inverse, forcing))
    found.put(tags, point)
    return found, False


def _step(problem: Logistic, point: Point, inverse: np.ndarray, forcing: np.ndarray) -> np.ndarray:
    """Minus the gradient over the second derivatives, up to a share of the gradient. Shape: (R + 1, K)."""
    residual = -problem.gradient(point)
    found, step = np.zeros_like(residual), np.zeros_like(residual)
    tags = np.arange(residual.shape[1])  # that are still improved
    direction = inverse * residual
    size = problem.inner(residual, direction)
    end = forcing**2 * size
    going = size > end
    for _ in range(GRADIENT_STEPS):
        bent = problem.curved(point, direction)
        curvature = problem.inner(direction, bent)
        going &= curvature > 0  # rounding; it is convex
        length = np.where(going, size / np.maximum(curvature, TINY), 0.0)
        step += length * direction
        residual -= length * bent
        preconditioned = inverse * residual
        before, size = size, problem.inner(residual, preconditioned)
        going &= size > end
        if not going.any():
            break
        direction = preconditioned + size / np.maximum(before, TINY) * direction
        if going.mean() < WORTH_NARROWING:
            found[:, tags] = step
            tags, problem, point = tags[going], problem.only(going), point.only(going)
            step, residual, direction, inverse = (array[:, going] for array in (step, residual, direction, inverse))
            size, end, going = size[going], end[going], going[going]
    found[:, tags] = step
    return found


def _descended(problem: Logistic, point: Point, step: np.ndarray) -> Point:
    """The point at the end of the step, or of a half of it, a quarter, … where that is not well below."""
    slope = problem.inner(problem.gradient(point), step)
    before = problem.objective(point)
    rounding = 64 * np.finfo(np.float64).eps * np.abs(before)
    length = np.ones_like(slope)
    for _ in range(HALVINGS):
        reached = problem.at(point.weights + length * step)
        enough = problem.objective(reached) <= before + ARMIJO * length * slope + rounding
        if enough.all():
            break
        length = np.where(enough, length, length / 2)
    return reached
