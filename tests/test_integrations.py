"""Each integration inside the library that it is for: real frames, real estimators, a real agent's protocol."""

import asyncio
import json
import sys
from html.parser import HTMLParser
from importlib.metadata import EntryPoint

import documents
import numpy as np
import pandas
import polars
import pytest
from PIL import Image

import hybrid_mmsa
from hybrid_mmsa import Analyzer, InputError
from hybrid_mmsa.integrations import tool
from hybrid_mmsa.testing import TinyEncoder, tiny_adapter
from hybrid_mmsa.types import LABELS

POSTS = {"body": ["lovely day, thanks", "the worst, awful", None, " "], "image": [None, None, None, "no/such.jpg"]}


@pytest.fixture(scope="module")
def analyzer():
    encoder = TinyEncoder()
    return Analyzer(encoder, [tiny_adapter(encoder)])


# ---- frames


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_a_frame_is_answered_row_for_row_and_bad_rows_keep_their_place(library, analyzer):
    answers = hybrid_mmsa.analyze_frame(library.DataFrame(POSTS), columns={"text": "body"}, analyzer=analyzer)
    assert type(answers) is library.DataFrame
    assert answers["label"].to_list()[:2] == ["positive", "negative"]
    rows = answers.to_dict("records") if library is pandas else answers.to_dicts()
    for row in rows[:2]:
        assert sum(row[label] for label in LABELS) == pytest.approx(1)
        assert row["confidence"] == max(row[label] for label in LABELS)
    assert "neither text nor image" in rows[2]["error"]
    assert "no/such.jpg" in rows[3]["error"]


def test_pandas_columns_are_typed_and_keep_the_index(analyzer):
    frame = pandas.DataFrame(POSTS, index=list("dcba")).rename(columns={"body": "text"})
    answers = hybrid_mmsa.analyze_frame(frame, analyzer=analyzer)
    assert list(answers.index) == list("dcba")
    assert list(answers["label"].cat.categories) == list(LABELS)
    assert str(answers["needs_review"].dtype) == "boolean"
    assert str(answers["p_error"].dtype) == "float64"
    joined = pandas.concat([frame, answers], axis=1)
    assert joined.loc["c", "text"] == "the worst, awful"
    assert joined.loc["c", "label"] == "negative"


def test_polars_columns_are_typed(analyzer):
    frame = polars.DataFrame({"text": POSTS["body"]})
    answers = hybrid_mmsa.analyze_frame(frame, analyzer=analyzer)
    assert answers.schema["label"] == polars.Enum(LABELS)
    assert answers.schema["needs_review"] == polars.Boolean
    assert answers["negative"].null_count() == 2
    assert frame.hstack(answers).shape == (4, 1 + answers.width)


def test_an_empty_frame_has_empty_answers_of_the_same_types(analyzer):
    for frame in (pandas.DataFrame({"text": []}), polars.DataFrame({"text": []})):
        answers = hybrid_mmsa.analyze_frame(frame, analyzer=analyzer)
        full = hybrid_mmsa.analyze_frame(type(frame)({"text": ["good"]}), analyzer=analyzer)
        assert len(answers) == 0
        assert [str(kind) for kind in answers.dtypes] == [str(kind) for kind in full.dtypes]


def test_what_is_no_frame_of_posts_is_refused_by_name(analyzer):
    with pytest.raises(InputError, match="found the columns a, b; wanted 'text' or 'image'"):
        hybrid_mmsa.analyze_frame(pandas.DataFrame({"a": [1], "b": [2]}), analyzer=analyzer)
    with pytest.raises(InputError, match="no column 'body'"):
        hybrid_mmsa.analyze_frame(pandas.DataFrame({"text": ["a"]}), columns={"text": "body"}, analyzer=analyzer)
    with pytest.raises(InputError, match="collect"):
        hybrid_mmsa.analyze_frame(polars.LazyFrame({"text": ["a"]}), analyzer=analyzer)
    with pytest.raises(InputError, match="found a list"):
        hybrid_mmsa.analyze_frame([{"text": "a"}], analyzer=analyzer)


def test_pictures_of_a_frame_are_read_from_paths_and_bytes(analyzer, tmp_path):
    Image.new("RGB", (16, 16), "black").save(tmp_path / "a.png")
    frame = pandas.DataFrame({"image": [str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()]})
    answers = hybrid_mmsa.analyze_frame(frame, analyzer=analyzer)
    assert answers["error"].isna().all()
    assert answers["negative"].iloc[0] == answers["negative"].iloc[1]


# ---- scikit-learn


@pytest.fixture(scope="module")
def labelled():
    words = {
        "negative": ("awful", "sad", "broken", "worst", "angry"),
        "neutral": ("table", "train", "monday", "report", "office"),
        "positive": ("lovely", "great", "happy", "best", "smile"),
    }
    colours = {"negative": "maroon", "neutral": "silver", "positive": "gold"}
    draw = np.random.default_rng(3)
    rows = []
    for i in range(90):
        label = LABELS[i % 3]
        text = " ".join([*draw.choice(words[label], 2), f"number{i}", f"place{draw.integers(99)}"])
        rows.append({"text": text, "image": Image.new("RGB", (8, 8), colours[label]), "label": label})
    return pandas.DataFrame(rows)


@pytest.fixture
def classifier(analyzer):
    from hybrid_mmsa.integrations.sklearn import SentimentClassifier

    return SentimentClassifier(analyzer)


def test_the_estimator_learns_and_its_probabilities_sum_to_one(classifier, labelled):
    posts, labels = labelled[["text", "image"]], labelled["label"]
    assert classifier.fit(posts[:60], labels[:60]) is classifier
    assert classifier.score(posts[60:], labels[60:]) > 0.9
    shares = classifier.predict_proba(posts)
    assert shares.shape == (90, 3)
    assert shares.sum(1) == pytest.approx(1)
    assert (classifier.classes_[shares.argmax(1)] == classifier.predict(posts)).all()


def test_the_estimator_answers_in_full_and_is_kept_as_an_adapter(classifier, labelled, tmp_path):
    from hybrid_mmsa.adapters import Adapter

    classifier.fit(labelled, labelled["label"])
    answer = classifier.analyzer_.analyze("awful and broken")
    assert answer.sentiment.label == "negative"
    classifier.adapter_.save_whole(tmp_path / "mine")
    again = Analyzer(TinyEncoder(), [Adapter.load(tmp_path / "mine")])
    assert again.analyze("awful and broken").sentiment == answer.sentiment


def test_the_estimator_works_in_pipelines_searches_and_cross_validation(classifier, labelled):
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    rest = labelled[["text", "image"]], labelled["label"]
    chain = make_pipeline(FunctionTransformer(lambda frame: frame.assign(text=frame["text"].str.lower())), classifier)
    assert chain.fit(*rest).score(*rest) > 0.9
    assert cross_val_score(classifier, *rest, cv=2, scoring="neg_log_loss").mean() > -np.log(3)
    search = GridSearchCV(classifier, {"match_shares": [False, True], "caution": [0.0, 1.0]}, cv=2).fit(*rest)
    assert search.best_score_ > 0.9
    assert set(search.best_params_) == {"match_shares", "caution"}


def test_the_estimator_passes_the_checks_that_posts_allow(classifier):
    from sklearn.exceptions import NotFittedError, SkipTestWarning
    from sklearn.utils import estimator_checks as checks

    name = type(classifier).__name__
    for check in (
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_get_params_invariance",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ):
        getattr(checks, check)(name, classifier)
    with pytest.warns(SkipTestWarning, match="requires input"):  # the others want matrices of numbers
        checks.check_estimator(classifier)
    with pytest.raises(NotFittedError):
        classifier.predict([{"text": "good"}])


def test_the_estimator_says_which_labels_and_posts_it_cannot_use(classifier):
    with pytest.raises(InputError, match="found the labels 4, 5"):
        classifier.fit(["a", "b"], [5, 4])
    with pytest.raises(InputError, match="found 1 labels for 2 posts"):
        classifier.fit(["a", "b"], ["positive"])


# ---- spaCy


def test_the_component_answers_documents_and_their_entities():
    import spacy
    from spacy.tokens import Doc

    import hybrid_mmsa.integrations.spacy

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PRODUCT", "pattern": "camera"}, {"label": "PRODUCT", "pattern": "battery"}])
    nlp.add_pipe("hybrid_mmsa", last=True)
    docs = list(nlp.pipe(["I love the camera, but the battery is awful.", "  "]))
    doc = docs[0]
    towards = {entity.text: entity._.sentiment.sentiment.label for entity in doc.ents}
    assert towards == {"camera": "positive", "battery": "negative"}
    alone = hybrid_mmsa.analyze(doc.text, explain="none")
    assert doc._.sentiment.sentiment.probabilities == pytest.approx(alone.sentiment.probabilities, abs=1e-4)
    assert docs[1]._.sentiment is None
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again._.sentiment == doc._.sentiment


def test_spacy_finds_the_component_by_its_entry_point():
    from hybrid_mmsa.integrations.spacy import make_component

    declared = documents.project()["entry-points"]["spacy_factories"]
    assert EntryPoint("hybrid_mmsa", declared["hybrid_mmsa"], "spacy_factories").load() is make_component


# ---- Hugging Face


def test_the_pipeline_says_labels_and_scores_as_transformers_does(analyzer):
    from transformers import pipeline

    from hybrid_mmsa.integrations.transformers import TASK, sentiment_pipeline

    classify = pipeline(TASK, model=analyzer)
    answers = classify(["lovely, thanks", {"text": "the worst", "image": Image.new("RGB", (8, 8), "black")}])
    assert [answer[0]["label"] for answer in answers] == ["positive", "negative"]
    assert all(sum(entry["score"] for entry in answer) == pytest.approx(1) for answer in answers)
    assert classify("lovely, thanks", top_k=1) == answers[0][:1]
    assert sentiment_pipeline(analyzer, top_k=2)("lovely, thanks") == answers[0][:2]
    with pytest.raises(InputError, match="no such option: temperature"):
        classify("good", temperature=1)
    with pytest.raises(InputError) as error:
        classify(["good", {"text": None}])
    assert error.value.index == 1


# ---- agents


def test_the_tool_says_plain_values_and_its_schema_names_its_arguments():
    answer = tool.analyze_post("Great camera, awful battery", target="battery")
    assert json.loads(json.dumps(answer)) == answer
    assert answer["label"] == "negative"
    parameters = tool.TOOL_SCHEMA["parameters"]
    assert parameters["required"] == ["text"]
    assert "person or thing" in parameters["properties"]["target"]["description"]


def test_langchain_takes_the_tool_as_it_is():
    from langchain_core.tools import StructuredTool

    wrapped = StructuredTool.from_function(tool.analyze_post)
    assert wrapped.invoke({"text": "I love this"})["label"] == "positive"
    assert wrapped.args["text"]["description"] == "The post's words, in English."


def test_llamaindex_takes_the_tool_as_it_is():
    from llama_index.core.tools import FunctionTool

    wrapped = FunctionTool.from_defaults(tool.analyze_post)
    assert wrapped.call(text="Great camera, awful battery", target="battery").raw_output["label"] == "negative"
    said = wrapped.metadata.get_parameters_dict()["properties"]
    assert said["text"]["description"] == "The post's words, in English."
    assert "how sure that is" in wrapped.metadata.description


def asked(server, name, arguments):
    """What an agent's client is told by one call."""
    from mcp import Client

    async def ask():
        async with Client(server) as client:
            return await client.call_tool(name, arguments)

    return asyncio.run(ask())


def test_agents_get_answers_explanations_and_a_queue(analyzer):
    from hybrid_mmsa.integrations.mcp import make_server

    server = make_server(analyzer)
    answer = asked(server, "analyze", {"text": "lovely, thanks"})
    assert not answer.is_error
    assert answer.structured_content["label"] == "positive"
    explained = asked(server, "explain", {"text": "the worst, awful"}).structured_content
    assert "Most for it" in explained["explanation"]
    posts = [{"id": "a", "text": "great, as if"}, {"id": "b", "text": " "}, {"id": "c", "text": "lovely, thanks"}]
    queue = asked(server, "review_queue", {"posts": posts}).structured_content
    assert queue["queue"][0]["id"] == "a"
    assert [entry["p_error"] for entry in queue["queue"]] == sorted(
        (e["p_error"] for e in queue["queue"]), reverse=True
    )
    assert [entry["post"] for entry in queue["failed"]] == [2]
    assert sum(queue["labels"].values()) == 2


def test_agents_read_no_picture_outside_the_folder_that_was_named(analyzer, tmp_path):
    from hybrid_mmsa.integrations.mcp import make_server

    folder = tmp_path / "photos"
    folder.mkdir()
    for path in (folder / "in.png", tmp_path / "out.png"):
        Image.new("RGB", (8, 8), "gold").save(path)
    refused = asked(make_server(analyzer), "analyze", {"image": str(tmp_path / "out.png")})
    assert refused.is_error
    assert "data: URI" in refused.content[0].text
    server = make_server(analyzer, folder)
    assert asked(server, "analyze", {"image": "in.png"}).structured_content["label"] == "positive"
    for path in ("../out.png", str(tmp_path / "out.png")):
        assert asked(server, "analyze", {"image": path}).is_error


def test_the_command_answers_an_agent_over_standard_input_and_output():
    from mcp import Client, StdioServerParameters, stdio_client

    async def ask():
        command = StdioServerParameters(command=sys.executable, args=["-m", "hybrid_mmsa", "mcp"])
        async with Client(stdio_client(command)) as client:
            names = [each.name for each in (await client.list_tools()).tools]
            return names, (await client.call_tool("analyze", {"text": "I love this"})).structured_content

    names, answer = asyncio.run(ask())
    assert names == ["analyze", "explain", "review_queue"]
    assert answer["label"] == "positive"


# ---- notebooks


class Tags(HTMLParser):
    """The words of a piece of HTML, and whether each element ends."""

    def __init__(self, html):
        super().__init__()
        self.open, self.words, self.tags = [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text)


def test_notebooks_show_an_answer_and_run_nothing_of_a_post(analyzer):
    answer = analyzer.analyze("awful <script>alert(1)</script>", Image.new("RGB", (8, 8), "gold"), explain="full")
    page = Tags(answer._repr_html_())
    assert not page.open
    assert "script" not in page.tags
    assert {"answer", "words", "picture", *LABELS} <= set(page.words)
    assert answer.explanation.text in page.words
