"""Images for sites whose fields are laid out on a square."""

from __future__ import annotations

from protocols.errors import DataError
from protocols.vocabulary import Images, check_images


def side_of(images: Images, whose: str) -> int:
    """The side of `(n, size, size, 3) uint8`, px.

    Args:
        images: To be checked.
        whose: Sites that see them, for the error.

    Raises:
        DataError: If the images are not square, or have another shape or type.
    """
    check_images(images)
    _, height, width, _ = images.shape
    if height != width:
        raise DataError(
            f"{whose} sites see square images only",
            expected="(n, size, size, 3)",
            got=images.shape,
        )
    return int(height)
