"""Turns the errors of the model hub's client into one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from semconv.system.errors import InputError, first_line

_NOT_HERE = "is not in the local cache, and the hub cannot be reached or HF_HUB_OFFLINE is set"


class UnreachableError(InputError):
    """What was asked for is not in the local cache, and the hub cannot be reached or must not be (offline mode)."""


@contextmanager
def hub_errors(what: str) -> Generator[None]:
    """Within it, errors of the hub's client become an InputError whose sentence says what to do.

    Raises:
        InputError: the repository is gated, unknown or moved; it is not in the cache while offline; the hub refuses
            more requests; or the download broke off.
    """
    from huggingface_hub import errors

    # HTTPError of whichever HTTP library this version of the client uses.
    transport = cast(type[Exception], errors.HfHubHTTPError.__bases__[0])
    try:
        yield
    except errors.GatedRepoError:
        raise InputError(
            f"{what} is gated: accept its licence on the hub, then set HF_TOKEN to a token that may read it"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{what} does not exist at that revision") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"{what} does not exist on the hub, or needs a token in HF_TOKEN") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            raise InputError(f"{what}: {_answer(cause.response.status_code)}") from None
        raise UnreachableError(f"{what} {_NOT_HERE}") from None
    except errors.EntryNotFoundError as error:
        raise InputError(f"{what} has no such file: {first_line(error)}") from None
    except errors.HfHubHTTPError as error:
        raise InputError(f"{what}: {_answer(error.response.status_code)}") from None
    except (transport, errors.FileMetadataError) as error:
        if "Connect" in type(error).__name__:
            raise UnreachableError(f"{what} {_NOT_HERE}") from None
        raise InputError(f"{what}: the download broke off ({first_line(error)}); run the same command again") from None
    except OSError as error:
        if "Consistency check failed" not in str(error):
            raise
        raise InputError(f"{what}: the download broke off, a file is too short; run the same command again") from None


def _answer(status: int) -> str:
    return f"the hub answers {status}" + (" (too many requests); try again later" if status == 429 else "")
