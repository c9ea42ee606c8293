"""Write down how sentences spell the categories of the vocabulary, so that no run has to work it out.

Run: `python infra/spell_categories.py > forge_assets/candidate_qa/spelled_categories.csv`
"""

import csv
import sys

from forge_assets.candidate_qa.names import Spelled, spelled
from forge_resources.vocabulary import Vocabulary


def main() -> None:
    """Write the table to standard output."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("category", *Spelled._fields))
    table.writerows((category, *spelled(category)) for category in sorted(Vocabulary.packaged().categories))


if __name__ == "__main__":
    main()
