"""Make messages of customers with their topic: a small data set for the text example.

Real enough that words alone don't give the topic away, made from sentence patterns so that nothing
has to be downloaded. The same seed gives the same bytes. The patterns of the test set are never
trained on.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

#: Topic -> sentence patterns; a word in braces stands for one of `WORDS`.
PATTERNS = {
    "delivery": (
        "my {item} was due {when} and has not arrived",
        "where is my {item}, it should have come {when}",
        "the courier left the {item} at the wrong door {when}",
        "tracking has not moved since {when}",
        "can you send the {item} to another address",
        "how long does shipping of a {item} take",
        "the parcel with my {item} is lost",
        "nobody rang the bell, yet your driver says he was here {when}",
        "I am not at home {when}, please bring the {item} later",
        "the package arrived {when} but the box was empty",
        "your driver never rang when he was to bring the {item}",
        "the {item} is not here yet, what does the tracking say",
        "when will the parcel with the {item} arrive",
    ),
    "billing": (
        "I was charged twice for the {item}",
        "the invoice of {when} shows a wrong amount",
        "why is the {item} dearer on my bill than in the shop",
        "my card was debited {when} though I cancelled the {item}",
        "please send me an invoice for the {item}",
        "the discount was not taken off the price of the {item}",
        "can I pay for the {item} in instalments",
        "you took the money {when} but there is no receipt",
        "which tax is in the price of the {item}",
        "my payment was declined {when}, is my card blocked",
        "the amount on the receipt for the {item} is wrong",
        "I paid {when} and was charged again",
        "please correct the price on my invoice",
    ),
    "returns": (
        "I want to send the {item} back",
        "the {item} does not fit, can I exchange it",
        "how do I return the {item} I bought {when}",
        "I got the wrong colour and would like another {item}",
        "when do I get a refund for the {item}",
        "the return label for the {item} can't be printed",
        "may I give back a {item} that was opened",
        "I sent the {item} back {when} and have heard nothing",
        "how many days do I have to bring the {item} back",
        "please swap the {item} for a bigger one",
        "I would like to exchange the {item} from {when}",
        "can I still return it if the {item} was opened {when}",
        "I don't like the {item}, I want to give it back",
    ),
    "technical": (
        "the {item} does not switch on",
        "since {when} the {item} makes a strange noise",
        "the screen of the {item} stays black",
        "how do I connect the {item} to my phone",
        "the battery of the {item} is empty after an hour",
        "after the update {when} the {item} keeps crashing",
        "the {item} gets hot and then turns off",
        "which cable belongs to the {item}",
        "the app does not find my {item}",
        "I need the manual of the {item}, a lamp on it blinks red",
        "my {item} turns off by itself since {when}",
        "the app keeps crashing when I connect the {item}",
        "the {item} stays black after I switch it on",
    ),
}
WORDS = {
    "item": (
        *("lamp", "kettle", "phone", "jacket", "camera", "printer", "chair", "watch", "radio"),
        *("keyboard", "blender", "speaker", "scooter", "monitor", "toaster", "headset"),
    ),
    "when": (
        *("yesterday", "on Monday", "last week", "this morning", "on the third", "two days ago"),
        *("in March", "before the weekend", "at noon"),
    ),
}
GREETINGS = ("", "", "hello, ", "good morning, ", "hi there, ", "excuse me, ")
#: Some of them speak of other topics: they are what makes it hard.
ENDINGS = (
    *("", "", ". please help", ". thank you", ". this is urgent", ". I asked before"),
    *(". apart from that the delivery was quick", ". I paid by card", ". it worked well before"),
    *(". otherwise I will send it back", ". the invoice is attached", ". your driver was friendly"),
)
_TEST_PATTERNS = 3
"""The last ones of each topic."""


def generate(train: int, test: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return the lines of the training and the test set, `train` and `test` of each topic."""
    chance = random.Random(seed)
    return (
        _lines(chance, train, slice(None, -_TEST_PATTERNS)),
        _lines(chance, test, slice(-_TEST_PATTERNS, None)),
    )


def _lines(chance: random.Random, count: int, which: slice) -> list[str]:
    lines = [
        json.dumps({"text": _message(chance, patterns[which]), "label": topic})
        for topic, patterns in PATTERNS.items()
        for _ in range(count)
    ]
    chance.shuffle(lines)
    return lines


def _message(chance: random.Random, patterns: Sequence[str]) -> str:
    filled = chance.choice(patterns).format(
        **{name: chance.choice(words) for name, words in WORDS.items()}
    )
    text = _with_slip(chance, chance.choice(GREETINGS) + filled) + chance.choice(ENDINGS)
    return text[0].upper() + text[1:]


def _with_slip(chance: random.Random, text: str) -> str:
    """Swap two letters in one of five messages, as people do."""
    if chance.random() >= 0.2:
        return text
    at = chance.randrange(len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target_dir", type=Path, required=True)
parser.add_argument("--train", type=int, default=1000, help="messages of each topic to train on")
parser.add_argument("--test", type=int, default=250, help="messages of each topic to test with")
parser.add_argument("--seed", type=int, default=0, help="of what is chosen")

if __name__ == "__main__":
    options = parser.parse_args()
    sets = generate(options.train, options.test, options.seed)
    options.target_dir.mkdir(parents=True, exist_ok=True)
    for name, lines in zip(("train.jsonl", "test.jsonl"), sets, strict=True):
        (options.target_dir / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(sets[0])} messages to train on and {len(sets[1])} are in {options.target_dir}")
