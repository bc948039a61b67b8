"""`make model`: train the shipped model, then measure it. Arguments are those of
`toy_model.train`."""

from .measure import measure_checkpoint
from .train import main

if __name__ == "__main__":
    measure_checkpoint(main())
