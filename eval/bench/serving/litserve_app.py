"""The same analyzer behind LitServe, with its own batching. Needs the package `litserve`.

python eval/bench/serving/litserve_app.py PORT
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import litserve

from hybrid_mmsa import Analysis, Analyzer, Sample


class Posts(litserve.LitAPI):  # type: ignore[misc]  # it is not there where types are checked
    """Decode, judge together, encode."""

    def setup(self, device: str) -> None:
        """Open the model, once a worker."""
        self.analyzer = Analyzer.from_pretrained()

    def decode_request(self, request: dict[str, str]) -> Sample:
        """The post of a body."""
        return Sample(text=request["text"], image=base64.b64decode(request["image"]))

    def batch(self, inputs: list[Sample]) -> list[Sample]:
        """Posts as they are."""
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Answers as they are."""
        return output

    def predict(self, posts: list[Sample]) -> list[Any]:
        """All answers."""
        return self.analyzer.analyze_batch(posts)

    def encode_response(self, output: Analysis) -> dict[str, Any]:
        """The answer as JSON."""
        return output.model_dump(mode="json")


if __name__ == "__main__":
    api = Posts(max_batch_size=32, batch_timeout=0.01, api_path="/v1/analyze")
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=len(os.sched_getaffinity(0)),
        healthcheck_path="/readyz",
        timeout=60,
    )
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="warning", generate_client_file=False)
