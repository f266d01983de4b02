"""The errors that a user can cause and mend; everything else is a bug and keeps its traceback."""


class LookalikeError(Exception):
    """A user's mistake or a missing thing: the message says what is wrong with what, and `remedy` what to do.

    Attributes:
        code: stable machine-readable name, sent over the wire and printed with ``--json``.
        remedy: one imperative sentence, or "".
        data: JSON-able facts that a program needs to offer a choice, e.g. for an ambiguous portrait
            ``{"portrait": "photo.jpg", "faces": [{"box": [x0, y0, x1, y1], "score": 0.98}, ...]}``, boxes in pixels.
    """

    code = "error"

    def __init__(self, message: str, remedy: str = "", data: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.data: dict[str, object] = data or {}

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.remedy}" if self.remedy else message


class ImageError(LookalikeError):
    """A photo or video that cannot be decoded, or is outside the accepted sizes."""

    code = "image"


class FaceError(LookalikeError):
    """No face, an ambiguous face, or a face that cannot be used (too small, profile beyond reach)."""

    code = "face"


class AvatarFileError(LookalikeError):
    """A .lookalike file that is corrupt, hostile or of an unknown version."""

    code = "avatar_file"


class RigError(LookalikeError):
    """A rig file that is missing, corrupt, hostile or of the wrong shape."""

    code = "rig"


class WeightsError(LookalikeError):
    """Network weights that are missing or are not what they claim to be."""

    code = "weights"


class ProtocolError(LookalikeError):
    """A message that breaks the wire contract."""

    code = "protocol"


class BackendError(LookalikeError):
    """The backend cannot be reached, has the wrong version or key, or died."""

    code = "backend"


class Cancelled(LookalikeError):  # noqa: N818 - the word of the interface; it is an event more than a fault
    """The user cancelled the job."""

    code = "cancelled"


def error_class(code: str) -> type[LookalikeError]:
    """The class whose `code` this is; `LookalikeError` itself where there is none."""
    return next((cls for cls in LookalikeError.__subclasses__() if cls.code == code), LookalikeError)
