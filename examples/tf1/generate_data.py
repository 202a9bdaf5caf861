"""Make a table of customers, some of whom left: for the example with code for TensorFlow 1."""

import argparse
import csv
import math
import random
from pathlib import Path

CONTRACTS = {"monthly": 0.9, "yearly": -0.9, "prepaid": 0.2}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target_dir", type=Path, required=True)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
chance = random.Random(options.seed)
options.target_dir.mkdir(parents=True, exist_ok=True)
for name, rows in (("train.csv", 4000), ("test.csv", 1000)):
    with (options.target_dir / name).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["months", "complaints", "contract", "left"])
        for _ in range(rows):
            months, complaints = chance.randint(1, 72), min(9, int(chance.expovariate(0.6)))
            contract = chance.choice(list(CONTRACTS))
            wish = 2.2 * complaints + 3 * CONTRACTS[contract] - months / 8
            left = chance.random() < 1 / (1 + math.exp(-wish))
            table.writerow([months, complaints, contract, "yes" if left else "no"])
print(f"customers are in {options.target_dir}")
