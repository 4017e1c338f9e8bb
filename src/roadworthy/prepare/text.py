"""Texts as numbers: tf-idf of words, or hashed letter triples."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from roadworthy.prepare.plan import Feature, hash_bucket

TOKEN = r"(?u)\b\w\w+\b"
"""What counts as a word, as in scikit-learn's `TfidfVectorizer`."""
_WORDS = re.compile(TOKEN)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORDS.findall(text.lower())


def triples(text: str) -> list[str]:
    """The letter triples of a text's words, each word padded by one space."""
    padded = [f" {word} " for word in text.lower().split()]
    return [word[start : start + 3] for word in padded for start in range(len(word) - 2)]


def text_encoder(features: Sequence[Feature]) -> Callable[[str], list[float]]:
    """Compile a text column's features.

    Args:
        features: Its `word` or `ngram` features, side by side in the vector.

    Returns:
        Text -> their values: word counts times inverse document frequency, or counts of hash
        buckets, brought to length 1 (Salton and Buckley 1988; Weinberger et al. 2009).
    """
    if features[0].read == "word":
        places = {feature.levels[0]: place for place, feature in enumerate(features)}
        weights = [feature.values[0] for feature in features]

        def find(text: str) -> list[int]:
            return [places[word] for word in words(text) if word in places]
    else:
        weights = [1.0] * len(features)
        buckets = len(features)

        def find(text: str) -> list[int]:
            return [hash_bucket(triple, buckets) for triple in triples(text)]

    def encode(text: str) -> list[float]:
        vector = [0.0] * len(weights)
        found = find(text)
        for place in found:
            vector[place] += 1.0
        squares = 0.0
        present = sorted(set(found))
        for place in present:
            vector[place] *= weights[place]
            squares += vector[place] * vector[place]
        length = math.sqrt(squares)
        for place in present:
            vector[place] /= length
        return vector

    return encode
