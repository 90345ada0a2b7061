"""The encoders' weights that are here, by the code of `itin weights`."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Asked, Finding, bad, doubtful, good


def weights(asked: Asked) -> Iterator[Finding]:
    """Tell the weights that are here, and whether those of the encoders that are asked for, or the defaults, are."""
    from ..extract.config import EncoderConfig
    from ..extract.encoders.build import required_weights, weights_of
    from ..extract.weights.download import offline

    config = EncoderConfig(**asked.encoders)  # type: ignore[arg-type]
    kinds = ["regions", "tokens", "context"] + ["scene"] * (config.scene_encoder is not None)
    wanted = list({(row.encoder, row.needs): row for row in weights_of(config, kinds).values()}.values())
    rows = {(row.encoder, row.needs): row for row in [*wanted, *required_weights(config)]}
    others = []
    for key, row in rows.items():
        title = f"{row.encoder} ({row.needs})"
        if (fault := row.fault()) is not None:
            yield bad(f"{title}: {row.found} is {fault}", f"remove it, then: {row.how}")
        elif row.found is not None:
            yield good(f"{title}: {row.found}")
        elif key in {(one.encoder, one.needs) for one in wanted}:
            where = f"{title} is not here: looked in {row.looked_in}"
            state = bad if offline() and asked.encoders else doubtful
            yield state(
                where, "`itin weights fetch` downloads it where there is a network; `itin weights` tells other ways"
            )
        else:
            others.append(row.encoder)
    if others:
        yield good(f"not here, and not asked for: {', '.join(others)}", "`itin weights` tells how to get them")
