"""The server that people write in ten lines, around the same analyzer: FastAPI, a thread pool, no queue and no limits.

python eval/bench/serving/plain.py PORT
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

from hybrid_mmsa import Analyzer

app = FastAPI()
analyzer = Analyzer.from_pretrained()


class Post(BaseModel):
    """What it takes."""

    text: str
    image: str


@app.post("/v1/analyze")
def analyze(post: Post) -> Any:
    """Answer a post; FastAPI calls this in one of forty threads."""
    answer = analyzer.analyze(post.text, base64.b64decode(post.image))
    return Response(answer.model_dump_json(), media_type="application/json")


@app.get("/readyz")
def ready() -> dict[str, str]:
    """Whether it is up."""
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
