"""Whether models can be downloaded: the hub answers, or the user wants none."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Asked, Finding, doubtful, good

SECONDS = 6.0
"""The time within which the hub must answer."""

ASK = "unc-nlp/frcnn-vg-finetuned"
"""The model that it is asked for: the default detector's."""


def hub(asked: Asked) -> Iterator[Finding]:
    """Ask the hub for a model's page, as a download would; in offline mode nothing is asked."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    from ..extract.weights.download import offline
    from ..extract.weights.waiting import within
    from ..weights_file import cause_of

    if offline() or constants.HF_HUB_OFFLINE:
        yield good("offline mode is on (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE): nothing is downloaded")
        return
    where = constants.ENDPOINT
    without = (
        "`itin weights pack` on a machine with a network makes a folder for ITIN_WEIGHTS; HF_HUB_OFFLINE=1 asks no hub"
    )
    try:
        within(SECONDS, lambda: huggingface_hub.HfApi().model_info(ASK, timeout=SECONDS))
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            why = "check HF_TOKEN, or HF_ENDPOINT if it is a mirror"
            yield doubtful(f"{where} answers, but not for {ASK} (status {status})", why)
        else:
            yield doubtful(f"{where} answers with status {status}", f"try later; {without}")
    except Exception as error:  # of the client or of the libraries below it
        proxy = "a proxy is set by HTTPS_PROXY, a mirror by HF_ENDPOINT"
        yield doubtful(f"{where} cannot be reached ({cause_of(error)})", f"{without}; {proxy}")
    else:
        yield good(f"{where} answers")
