"""Whether a text is in another language than English, by its script and its commonest words."""

from __future__ import annotations

import re
import unicodedata

from ..protocols.duplicates import URL

REVISION = 1
"""The revision of the rule; it goes into the keys of runs."""

_NAME = re.compile(r"@\w+")
_HASHTAG = re.compile(r"#\w+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

ENGLISH = """
the to a and of in is you i for on it my this me with that your at be so are have we just all not but was up out when
what do like can from if about now get its it's i'm one don't they who will no how more as her he she his an or by there
has had been would their our them us am than then these those here him where why because
"""
"""The commonest words of English texts."""

OTHER = """
que el los las una uno unos para por y es muy pero como su lo mi tu te más esta este está hoy cuando ser hay
não uma um com os dos das ao na em pra você meu minha é mas eu isso nos tem foi
le les et est je pas pour dans une sur avec c'est qui ce vous nous elle mon j'ai
che non è sono della gli mi anche
der das und ich nicht ist ein eine mit für auf auch wir sie
het een van ik niet dat maar voor met je zijn
och jag att det är på som en av til og jeg
bir ve bu çok için nie się na jest yang ini itu aku kamu dari untuk tidak gak ang ng sa mga ako kung yung naman
"""
"""The commonest words of other languages with Latin letters, but for those that English texts use: Spanish, Portuguese,
French, Italian, German, Dutch, the Scandinavian ones, and Turkish, Polish, Indonesian and Tagalog."""

_ENGLISH, _OTHER = frozenset(ENGLISH.split()), frozenset(OTHER.split())


def clean(text: str) -> str:
    """Return a text without names (`@...`) and links."""
    return " ".join(URL.sub(" ", _NAME.sub(" ", text)).split())


def is_english(text: str) -> bool:
    """Return False for a text that is surely in another language.

    It is one if more than half of its letters are not Latin, or if it holds at least two words of `OTHER` and more of
    them than of `ENGLISH`. Hashtags count for the letters alone, names and links not at all.
    """
    text = unicodedata.normalize("NFC", clean(text))
    letters = [character for character in text if character.isalpha()]
    if 2 * sum(map(_is_latin, letters)) < len(letters):
        return False
    words = [word.lower().replace("’", "'") for word in _WORD.findall(_HASHTAG.sub(" ", text))]
    other = sum(word in _OTHER for word in words)
    return other < 2 or other <= sum(word in _ENGLISH for word in words)


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter < "\u1f00"
