"""The messages of the text example."""

import json

from training.datasets.generate_messages import PATTERNS, generate


def test_messages_depend_on_the_seed_alone_and_the_sets_share_no_pattern() -> None:
    train, test = generate(300, 100, seed=1)
    assert (train, test) == generate(300, 100, seed=1)
    assert train != generate(300, 100, seed=2)[0]
    assert (len(train), len(test)) == (1200, 400)
    texts = [json.loads(line)["text"] for line in train]
    for patterns in PATTERNS.values():
        for pattern in patterns[-3:]:
            longest = max(pattern.replace("{when}", "{item}").split("{item}"), key=len)
            assert not any(longest in text for text in texts), pattern
