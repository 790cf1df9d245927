"""An encoder that ends its process when it reads certain words, for tests of what is done about lost processes."""

import os

from hybrid_mmsa.testing import TinyEncoder


class DeadlyEncoder(TinyEncoder):
    """Ends the process at `poison`, and at `kill me once` where no process has been ended for that before.

    Args:
        folder: Where the first end is remembered.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def encode(self, samples):
        texts = {sample.text for sample in samples}
        once = self.folder / "killed once"
        if "poison" in texts or ("kill me once" in texts and not once.exists()):
            once.touch()
            os._exit(1)
        return super().encode(samples)
