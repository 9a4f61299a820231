"""DoRA on one linear layer, as peft writes it (tuners/lora/dora.py): a direction, and a length that is learned.

    base(x) + (m - 1) base(x) + m B A x s        m = magnitude / |W + s B A|

The length of W + s B A is asked for at every pass: a matrix with ones on its diagonal goes through A and B, and what
autograd kept of that stays until the layer has its answer, though nothing goes back there.
"""

from studio.memory.decoder.tape import NOTHING, Storage, Tape, Tensor


def weights_in_passing(
    tape: Tape, *, inner: float, outer: float, rank: float, widths: tuple[int, int], copies_base: bool
) -> tuple[Storage, list[Storage]]:
    """
    Args:
        widths: bytes of a value of the adapter, and of what its layers compute in.
        copies_base: the base weight is compressed, or of another dtype than the adapter.

    Returns:
        The base weight as it is multiplied with, and what stays beside it until the layer has its answer.
    """
    adapter, compute = widths
    diagonal = tape.take(0, inner * inner * adapter)
    short = tape.take(0, inner * inner * compute) if compute != adapter else tape.hold(diagonal)
    low = tape.take(0, inner * rank * compute)
    product = tape.take(0, inner * outer * compute)
    tape.release(diagonal)
    stays = [short, low] if tape.keeps else []
    tape.release(*(each for each in (short, low) if each not in stays))
    if compute != adapter:
        product = _cast(tape, product, inner * outer * adapter)
    weight = tape.take(0, inner * outer * adapter if copies_base else 0.0)
    scaled, whole = (tape.take(0, inner * outer * adapter) for _ in range(2))
    tape.release(scaled, whole)
    return weight, [product, *stays]


def scaled(tape: Tape, base: Tensor, low_rank: Tensor, width: int) -> Tensor:
    """(m - 1) base + m low_rank s, as wide as the magnitudes; gives both away."""
    magnitude, less = (Tensor(0, width, Storage(NOTHING)) for _ in range(2))
    one = tape.mul(base, less)
    other = tape.mul(low_rank, magnitude)
    last = tape.scale(other)
    tape.drop(other)
    both = tape.add(one, last)
    tape.drop(one, last, base, low_rank)
    return both


def _cast(tape: Tape, storage: Storage, size: float) -> Storage:
    made = tape.take(0, size)
    tape.release(storage)
    return made
