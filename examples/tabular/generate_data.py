"""Make a table of houses and their prices: numbers, categories, some cells empty."""

import argparse
import csv
import random
from pathlib import Path

DISTRICTS = {"harbour": 5200, "hills": 4100, "old town": 4700, "station": 3100, "west end": 3600}
"""Price of a square metre."""
HEATING = {"gas": 0, "heat pump": 25000, "oil": -12000}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target_dir", type=Path, required=True)
parser.add_argument("--rows", type=int, default=3000)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
chance = random.Random(options.seed)
options.target_dir.mkdir(parents=True, exist_ok=True)
with (options.target_dir / "houses.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["area", "rooms", "year", "district", "heating", "garden", "price"])
    for _ in range(options.rows):
        area, year = round(chance.gauss(110, 35) ** 2 / 110 + 25), chance.randint(1900, 2024)
        rooms = max(1, round(area / 28 + chance.gauss(0, 0.7)))
        district, heating = chance.choice(list(DISTRICTS)), chance.choice(list(HEATING))
        garden = chance.random() < 0.4
        price = area * DISTRICTS[district] * (1 - (2024 - year) / 500)
        price += HEATING[heating] + 40000 * garden + 6000 * rooms
        price *= chance.gauss(1, 0.04)
        known_year = "" if chance.random() < 0.02 else year
        row = [area, rooms, known_year, district, heating, str(garden).lower(), round(price, -3)]
        table.writerow(row)
print(f"{options.rows} houses are in {options.target_dir / 'houses.csv'}")
